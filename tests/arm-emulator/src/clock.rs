//! Real time made virtual: scaled, and moved forward on request.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::Millis;

/// Longest sleep until somebody looks at the clock again; keeps a huge virtual wait finite.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// The emulator's clock.
pub struct Clock(Mutex<Reading>);

struct Reading {
    real: Instant,
    shown: Millis,
    scale: f64,
}

impl Clock {
    /// A clock that starts at the present and runs `scale` times as fast as real time.
    pub fn new(scale: f64) -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shown = Millis::try_from(since.as_millis()).unwrap_or_default();
        Clock(Mutex::new(Reading { real: Instant::now(), shown, scale }))
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().expect("no holder of this lock can panic")
    }

    /// The time it shows.
    pub fn now(&self) -> Millis {
        self.reading().now()
    }

    /// Moves it forward.
    pub fn advance(&self, by: Millis) {
        self.reading().shown += by.max(0);
    }

    /// Lets it run at another speed from now on.
    pub fn set_scale(&self, scale: f64) {
        let mut reading = self.reading();
        let shown = reading.now();
        *reading = Reading { real: Instant::now(), shown, scale };
    }

    /// Its speed.
    pub fn scale(&self) -> f64 {
        self.reading().scale
    }

    /// How long to sleep until it shows this time.
    pub fn until(&self, when: Millis) -> Duration {
        let reading = self.reading();
        let ahead = (when - reading.now()).max(0) as f64 / 1000.0;
        // A little late rather than early: an early look finds nothing due and sleeps again.
        let seconds = ahead / reading.scale + 0.000_5;
        Duration::from_secs_f64(seconds.min(SLEEP_MAX.as_secs_f64()))
    }
}

impl Reading {
    fn now(&self) -> Millis {
        self.shown + (self.real.elapsed().as_secs_f64() * 1000.0 * self.scale) as Millis
    }
}
