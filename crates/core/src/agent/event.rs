//! What Azure announces, and how the reason on a node names it.

use crate::Timestamp;
use crate::agent::Announced;

/// What is going to happen to a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Azure takes a Spot VM back: 30 seconds of notice, best effort.
    Preempt,
    /// The VM will be deleted: as much notice as it was made with.
    Terminate,
    /// It will be restarted.
    Reboot,
    /// It will be moved to other hardware; its temporary disks are lost.
    Redeploy,
    /// It will stand still for some seconds.
    Freeze,
    /// A word that is new to us.
    Other(String),
}

impl EventKind {
    /// Reads Azure's word, in any case.
    pub fn of_word(word: &str) -> EventKind {
        match word.to_ascii_lowercase().as_str() {
            "preempt" => EventKind::Preempt,
            "terminate" => EventKind::Terminate,
            "reboot" => EventKind::Reboot,
            "redeploy" => EventKind::Redeploy,
            "freeze" => EventKind::Freeze,
            _ => EventKind::Other(word.to_owned()),
        }
    }

    /// Azure's word.
    pub fn as_str(&self) -> &str {
        match self {
            EventKind::Preempt => "Preempt",
            EventKind::Terminate => "Terminate",
            EventKind::Reboot => "Reboot",
            EventKind::Redeploy => "Redeploy",
            EventKind::Freeze => "Freeze",
            EventKind::Other(word) => word,
        }
    }

    /// How far it concerns the node. Nothing is done about what we do not know.
    pub fn announces(&self) -> Announced {
        match self {
            EventKind::Preempt => Announced::Eviction,
            EventKind::Terminate | EventKind::Reboot | EventKind::Redeploy | EventKind::Freeze => {
                Announced::Maintenance
            }
            EventKind::Other(_) => Announced::Nothing,
        }
    }

    /// What the node is in for, for people.
    fn sentence(&self) -> &'static str {
        match self {
            EventKind::Preempt => "Azure takes this VM back",
            EventKind::Terminate => "this VM will be deleted",
            EventKind::Reboot => "Azure will restart this VM",
            EventKind::Redeploy => "Azure will move this VM to other hardware",
            EventKind::Freeze => "Azure will hold this VM for some seconds",
            EventKind::Other(_) => "Azure has announced something for this VM",
        }
    }
}

/// One event of a Scheduled Events document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `EventId`.
    pub id: String,
    /// `EventType`.
    pub kind: EventKind,
    /// `EventStatus`: it has begun, or everybody has acknowledged it.
    pub is_started: bool,
    /// `Resources`: names of VMs.
    pub resources: Vec<String>,
    /// `NotBefore`; absent once it has begun.
    pub not_before: Option<Timestamp>,
    /// `Description`, from 2019-04-01 on.
    pub description: String,
}

/// The events that concern `vm`: everybody in an availability set or placement group is told those
/// of all. Names are compared without case; before 2017-08-01 they had a `_` in front.
pub fn own_events<'a>(events: &'a [Event], vm: &str) -> Vec<&'a Event> {
    let is_it = |name: &String| {
        let bare = name.strip_prefix('_').unwrap_or(name);
        name.eq_ignore_ascii_case(vm) || bare.eq_ignore_ascii_case(vm)
    };
    events.iter().filter(|event| event.resources.iter().any(is_it)).collect()
}

/// The event that presses most: an eviction before anything else, then what begins first.
pub fn foremost<'a>(own: &[&'a Event]) -> Option<&'a Event> {
    let urgency = |event: &&Event| match event.kind.announces() {
        Announced::Eviction => 0,
        Announced::Maintenance => 1,
        Announced::Unknown | Announced::Nothing => 2,
    };
    let known = own.iter().copied().filter(|event| urgency(event) < 2);
    known.min_by_key(|event| (urgency(event), event.not_before, event.id.clone()))
}

/// What the reason on a node says about who has closed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// There is none.
    None,
    /// An agent has drained it for this event.
    Event {
        /// Its kind.
        kind: EventKind,
        /// Its id, as [`reason_of`] writes it.
        id: String,
    },
    /// Other words of ours: azslurm on the head node has closed it, and opens it again.
    Ours,
    /// Anybody else's words.
    Others,
}

impl Mark {
    /// Whether this is the mark of `event`.
    pub fn is_of(&self, event: &Event) -> bool {
        matches!(self, Mark::Event { kind, id }
            if *kind == event.kind && *id == written(&event.id))
    }
}

const EVENT: &str = "event ";
/// An id is a GUID of 36 characters; what is longer is cut so that the words after it fit.
const ID_CHARS_MAX: usize = 48;

/// Code and text of the reason that a node is drained with.
pub fn reason_of(event: &Event) -> (String, String) {
    let when = match event.not_before.filter(|_| !event.is_started) {
        Some(at) => format!(" not before {at}"),
        None => " now".to_owned(),
    };
    let more = match event.description.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    };
    let text = format!("{EVENT}{}: {}{when}{more}", written(&event.id), event.kind.sentence());
    (event.kind.as_str().to_ascii_lowercase(), text)
}

/// Reads what [`reason_of`] wrote; any other code and text of ours is [`Mark::Ours`].
pub fn mark_of(code: &str, text: &str) -> Mark {
    let kind = EventKind::of_word(code);
    let id = text.strip_prefix(EVENT).and_then(|rest| rest.split_once(": ")).map(|(id, _)| id);
    match (kind, id) {
        (EventKind::Other(_), _) | (_, None) => Mark::Ours,
        (kind, Some(id)) => Mark::Event { kind, id: id.to_owned() },
    }
}

/// An id as a reason can hold it.
fn written(id: &str) -> String {
    let plain = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    plain.take(ID_CHARS_MAX).collect()
}
