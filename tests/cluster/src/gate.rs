//! A gate between the programs and the emulator's Resource Manager: while it is shut, connections
//! are refused as by a machine where nothing listens, and those that stood are cut. Bytes pass
//! untouched, TLS with them.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};

/// A port that leads to the emulator while it is open.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    target: SocketAddr,
    door: Mutex<Option<Door>>,
}

/// An open gate's listener, in a thread of its own.
#[derive(Debug)]
struct Door {
    keeper: JoinHandle<()>,
    passage: Arc<Passage>,
}

#[derive(Debug, Default)]
struct Passage {
    is_shutting: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Gate {
    /// An open gate on `port` that leads to `target`.
    pub(crate) fn new(port: u16, target: SocketAddr) -> Result<Gate> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let gate = Gate { address, target, door: Mutex::new(None) };
        gate.open()?;
        Ok(gate)
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Lets connections through. Does nothing if it is open.
    pub fn open(&self) -> Result<()> {
        let mut door = self.door();
        if door.is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address)
            .with_context(|| format!("open the gate at {}", self.address))?;
        let passage = Arc::new(Passage::default());
        let (kept, target) = (Arc::clone(&passage), self.target);
        let keeper = thread::spawn(move || kept.keep(&listener, target));
        *door = Some(Door { keeper, passage });
        Ok(())
    }

    /// Refuses connections, and cuts those that stand. Does nothing if it is shut.
    pub fn shut(&self) {
        let Some(Door { keeper, passage }) = self.door().take() else { return };
        passage.is_shutting.store(true, Ordering::SeqCst);
        // A connection of our own ends the keeper's wait for one.
        let _knock = TcpStream::connect(self.address);
        // The listener is closed when its thread has ended, however it ended.
        let _ended = keeper.join();
        for stream in passage.streams().drain(..) {
            let _cut_by_its_end_before = stream.shutdown(Shutdown::Both);
        }
    }

    fn door(&self) -> MutexGuard<'_, Option<Door>> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shut();
    }
}

impl Passage {
    fn keep(self: &Arc<Passage>, listener: &TcpListener, target: SocketAddr) {
        for stream in listener.incoming() {
            if self.is_shutting.load(Ordering::SeqCst) {
                return;
            }
            // Who is not let through sees a connection that ends at once.
            let _led = stream.and_then(|from| self.lead(from, TcpStream::connect(target)?));
        }
    }

    fn lead(&self, from: TcpStream, to: TcpStream) -> std::io::Result<()> {
        for (one, other) in [(&from, &to), (&to, &from)] {
            one.set_nodelay(true)?;
            self.streams().push(one.try_clone()?);
            let (mut source, mut sink) = (one.try_clone()?, other.try_clone()?);
            thread::spawn(move || {
                // One side has ended, or the gate was shut: the other side is to see it.
                let _until_the_end = std::io::copy(&mut source, &mut sink);
                let _passed_on = sink.shutdown(Shutdown::Write);
            });
        }
        Ok(())
    }

    fn streams(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};

    use super::*;
    use crate::ports;

    #[test]
    fn a_gate_passes_bytes_while_it_is_open_and_refuses_connections_while_it_is_shut() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = echo.local_addr().unwrap();
        thread::spawn(move || {
            for stream in echo.incoming() {
                let mut stream = stream.unwrap();
                let mut back = stream.try_clone().unwrap();
                thread::spawn(move || std::io::copy(&mut stream, &mut back));
            }
        });
        let port = ports::take(1).unwrap();
        let gate = Gate::new(port.first, target).unwrap();
        for _ in 0..3 {
            let mut stream = TcpStream::connect(gate.address).unwrap();
            stream.write_all(b"hello").unwrap();
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"hello");
            gate.shut();
            gate.shut();
            let end = stream.read(&mut answer);
            assert!(matches!(end, Ok(0) | Err(_)), "a standing connection was cut: {end:?}");
            let refused = TcpStream::connect(gate.address).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            gate.open().unwrap();
        }
    }
}
