//! Changes of an input, by a seed: the same seed makes the same input on every machine. Bytes are
//! changed, words of the target put in, numbers set to their limits, parts repeated, cut out,
//! nested and exchanged with those of another input.

use crate::Target;

/// An input is cut here: what a reader does wrong with more it does wrong with this much, but for
/// what [`crate`]'s own corpus holds.
pub const LENGTH_MAX: usize = 16 * 1024;
/// Changes of one input, at most.
const CHANGES_MAX: u64 = 6;
/// How often a part is repeated, at most.
const REPEATS_MAX: u64 = 300;
/// The part that one change takes, at most.
const PART_MAX: u64 = 80;

/// Numbers at which something changes.
const LIMITS: [&str; 20] = [
    "0",
    "-0",
    "1",
    "-1",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "99999999999999999999999999999999",
    "0.0000001",
];

/// Bytes that no text, or no line, should hold.
const ODD: [&[u8]; 12] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    "\u{2028}".as_bytes(),
    "é".as_bytes(),
    "\u{202e}".as_bytes(),
    b"\x1b[31m",
    b"\x7f",
];

/// What opens, and what closes it.
const NESTS: [(&str, &str); 5] =
    [("[", "]"), ("{\"a\":", "}"), ("{", "}"), ("\"", "\""), ("(", ")")];

/// A source of numbers: splitmix64, which is good enough to choose with and is three lines.
#[derive(Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }

    /// The next number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.max(1) as u64)).expect("below a length")
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.index(all.len())]
    }
}

/// A changed input: `inputs` of the target's corpus, of which there is at least one.
pub fn changed(target: &Target, inputs: &[Vec<u8>], seeded: &mut Seeded) -> Vec<u8> {
    let mut bytes = inputs[seeded.index(inputs.len())].clone();
    for _ in 0..=seeded.below(CHANGES_MAX) {
        let other = &inputs[seeded.index(inputs.len())];
        change(&mut bytes, (target, other), seeded);
        bytes.truncate(LENGTH_MAX);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, (target, other): (&Target, &[u8]), seeded: &mut Seeded) {
    let at = seeded.index(bytes.len() + 1);
    let end = (at + seeded.index(PART_MAX as usize)).min(bytes.len());
    match seeded.below(12) {
        0 => put(bytes, at..at, &[seeded.below(256) as u8]),
        1 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << seeded.below(8)),
        2 => put(bytes, at..end, b""),
        3 | 4 if !target.words.is_empty() => {
            let word = seeded.one_of(target.words);
            put(bytes, at..at, word.as_bytes());
        }
        5 => {
            let limit = seeded.one_of(&LIMITS);
            put(bytes, number_from(bytes, at), limit.as_bytes());
        }
        6 => {
            let odd = ODD[seeded.index(ODD.len())];
            put(bytes, at..at, odd);
        }
        7 => {
            let part = bytes[at..end].repeat(1 + seeded.below(REPEATS_MAX) as usize);
            put(bytes, at..at, &part);
        }
        8 => {
            let (open, close) = NESTS[seeded.index(NESTS.len())];
            let depth = 1 + seeded.below(REPEATS_MAX) as usize;
            let part =
                [open.repeat(depth).as_bytes(), &bytes[at..end], close.repeat(depth).as_bytes()]
                    .concat();
            put(bytes, at..end, &part);
        }
        9 => {
            let from = seeded.index(other.len() + 1);
            let until = (from + seeded.index(PART_MAX as usize)).min(other.len());
            put(bytes, at..end, &other[from..until]);
        }
        10 => bytes.truncate(at),
        _ => token_for_token(bytes, seeded),
    }
}

fn put(bytes: &mut Vec<u8>, place: std::ops::Range<usize>, what: &[u8]) {
    bytes.splice(place, what.iter().copied());
}

/// The digits that begin at `at` or behind it; nothing there if there are none.
fn number_from(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let Some(begin) = bytes[at..].iter().position(digits).map(|found| at + found) else {
        return at..at;
    };
    let length = bytes[begin..].iter().take_while(|byte| digits(byte)).count();
    begin..begin + length
}

/// Two tokens of the input change places.
fn token_for_token(bytes: &mut Vec<u8>, seeded: &mut Seeded) {
    let is_between = |byte: &u8| b" ,:=[]{}()\"\n\t;/".contains(byte);
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    for byte in bytes.iter() {
        match tokens.last_mut().filter(|last| !is_between(byte) && !is_between(&last[0])) {
            Some(last) => last.push(*byte),
            None => tokens.push(vec![*byte]),
        }
    }
    if !tokens.is_empty() {
        let (one, other) = (seeded.index(tokens.len()), seeded.index(tokens.len()));
        tokens.swap(one, other);
        *bytes = tokens.concat();
    }
}
