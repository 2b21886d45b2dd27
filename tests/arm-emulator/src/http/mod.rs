//! HTTP around the model: who may call, faults, the record of calls, and the control interface.
//!
//! ```text
//! /_emulator/…          control; /_emulator/identity/… is the directory's own
//! /metadata, /{tenant}  identity            ┐ watched: faults, record
//! /vm/{name}/metadata   what a VM asks      │
//! /api/retail/prices    the price list      │
//! /secrets/{name}       a key vault         │
//! everything else       token ─► the model  ┘
//! ```

mod arm;
mod calls;
pub mod control;
mod faults;
mod metadata;
mod prices;
mod vault;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use axum::Router;
use axum::middleware;
use tokio::sync::Notify;

use crate::boot::Runner;
use crate::clock::Clock;
use crate::identity::{self, Identities};
use crate::model::Model;
use calls::Calls;
use faults::Faults;
use vault::Vault;

/// What all handlers share.
pub struct Shared {
    model: Mutex<Model>,
    /// The emulator's clock.
    pub clock: Clock,
    faults: Mutex<Faults>,
    calls: Mutex<Calls>,
    vault: Mutex<Vault>,
    /// Who may call.
    pub identities: Arc<Identities>,
    /// Boot commands, if there are any.
    pub runner: OnceLock<Arc<Runner>>,
    /// Rung when the next due event may have changed.
    pub changed: Notify,
    /// Rung when the emulator shall end.
    pub ending: Notify,
}

impl Shared {
    /// Everything at its beginning.
    pub fn new(model: Model, clock: Clock, identities: Arc<Identities>) -> Shared {
        Shared {
            model: Mutex::new(model),
            clock,
            faults: Mutex::default(),
            calls: Mutex::default(),
            vault: Mutex::default(),
            identities,
            runner: OnceLock::new(),
            changed: Notify::new(),
            ending: Notify::new(),
        }
    }

    /// The model. Held for one call and never across a wait.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().expect("a panic in the model is a bug that must not be hidden")
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no holder of this lock can panic")
    }

    fn vault(&self) -> MutexGuard<'_, Vault> {
        self.vault.lock().expect("no holder of this lock can panic")
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().expect("no holder of this lock can panic")
    }

    /// Does something with the model at the present, and then what follows from it.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut Model, i64) -> T) -> T {
        let (result, effects) = {
            let mut model = self.model();
            let now = self.clock.now();
            let result = act(&mut model, now);
            let effects = model.advance(now);
            (result, effects)
        };
        if let Some(runner) = self.runner.get() {
            effects.into_iter().for_each(|effect| runner.carry_out(effect));
        }
        self.changed.notify_one();
        result
    }
}

/// The whole application.
pub fn router(shared: Arc<Shared>) -> Router {
    let watched = identity::router(Arc::clone(&shared.identities))
        .merge(metadata::router(Arc::clone(&shared)))
        .merge(prices::router(Arc::clone(&shared)))
        .merge(vault::router(Arc::clone(&shared)))
        .fallback_service(arm::service(Arc::clone(&shared)))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), watch::watch));
    let directory = identity::control_router(Arc::clone(&shared.identities));
    control::router(shared).merge(directory).fallback_service(watched)
}
