//! The driver: deletes what the front has written down.

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_core::NodeName;
use azslurm_core::attempt::{Attempt, AttemptState, Change, EndReason};
use azslurm_ledger::{Holder, Lease, LedgerError, Recorded};
use azslurm_program::Session;
use azslurm_program::errands::{Errands, Noted};
use tokio::time::Instant;

use crate::confirm::{Trail, confirm};
use crate::delete::{Deletion, delete};
use crate::search;

/// A driver of deletions ends after this long at the latest; what is left is azslurm-sync's. Longer
/// than 1,000 deletions take at Azure's slowest refill (FACTS §3.1: 200 at once, then 10 a second).
const DRIVE_MAX: Duration = Duration::from_secs(10 * 60);

/// What a driver has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Driven {
    /// Deletions that Azure took, or that found nothing.
    pub sent: usize,
    /// VMs whose deletion is still to be sent, or was refused.
    pub left: usize,
}

/// Deletes all VMs of the nodes that `holder` has leased and that are to go, also those that the
/// ledger does not know. Ends without waiting for Azure to finish. The leases stay: the caller ends
/// the session.
pub async fn drive(
    session: &mut Session,
    holder: &Holder,
    why: EndReason,
) -> Result<Driven, LedgerError> {
    let mut leases: BTreeMap<NodeName, Lease> = session
        .leases_renewed(holder)?
        .into_iter()
        .map(|lease| (lease.node().clone(), lease))
        .collect();
    let mut driven = send(session, holder, &leases).await?;
    let living: Vec<AttemptState> =
        AttemptState::ALL.into_iter().filter(|state| !state.is_ended()).collect();
    let unknown = session.ledger.leased_without(holder, &living)?;
    let unknown: BTreeMap<NodeName, Lease> =
        unknown.iter().filter_map(|node| leases.remove_entry(node)).collect();
    if !unknown.is_empty() && search::adopt_unknown(session, &unknown, why).await? > 0 {
        let more = send(session, holder, &unknown).await?;
        driven = Driven { sent: driven.sent + more.sent, left: driven.left + more.left };
    }
    Ok(driven)
}

async fn send(
    session: &mut Session,
    holder: &Holder,
    leases: &BTreeMap<NodeName, Lease>,
) -> Result<Driven, LedgerError> {
    let mut errands = Errands::new(leases.values().cloned(), &session.clients);
    let mut asked: usize = 0;
    let intended = AttemptState::DeleteIntended;
    for (lease, attempt) in session.ledger.attempts_of_holder_in(holder, intended)? {
        if leases.contains_key(lease.node()) {
            add(&mut errands, session, &lease, &attempt);
            asked += 1;
        }
    }
    let until = Instant::now() + DRIVE_MAX;
    let mut sent = 0;
    while let Some(batch) = errands.next(&mut session.ledger, until).await? {
        sent += batch.noted.iter().filter(|noted| is_sent(noted)).count();
    }
    Ok(Driven { sent, left: asked.saturating_sub(sent) })
}

/// Whether Azure took the deletion, or has no such VM, and the ledger says so. Each errand of a
/// deletion says so once at most.
fn is_sent(noted: &Noted) -> bool {
    let is_done = matches!(noted.recorded, Recorded::Done(_));
    match noted.change {
        Change::DeleteAccepted { .. } | Change::Gone => is_done,
        Change::Accepted { .. }
        | Change::Running
        | Change::Registered
        | Change::Refused(_)
        | Change::DeleteIntended { .. }
        | Change::DeleteFailed(_) => false,
    }
}

/// Adds the errand that a VM which is to go needs next: its deletion, or a look whether that has
/// ended. An attempt in another state, or at a site that the config no longer has, gets none.
pub fn add(errands: &mut Errands, session: &Session, lease: &Lease, attempt: &Attempt) {
    add_when(errands, session, (lease, attempt), std::future::ready(()));
}

/// As [`add`], and nothing is sent before `when`.
pub fn add_when(
    errands: &mut Errands,
    session: &Session,
    (lease, attempt): (&Lease, &Attempt),
    when: impl Future<Output = ()> + Send + 'static,
) {
    let vm = &attempt.is.vm;
    let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() else {
        tracing::error!(node = %attempt.is.node, %vm, site = %attempt.is.place.site,
            "the config no longer has the site of this VM: put it back, or delete the VM by hand");
        return;
    };
    let deletion = Deletion::from(attempt);
    match attempt.state {
        AttemptState::DeleteIntended => {
            errands.add(lease, vm, async |report| {
                when.await;
                delete(arm, deletion, report).await;
            });
        }
        AttemptState::Deleting => {
            let trail = Trail::from(attempt);
            errands.add(lease, vm, async |report| {
                when.await;
                confirm(arm, deletion, trail, report).await;
            });
        }
        AttemptState::Intended
        | AttemptState::Accepted
        | AttemptState::Running
        | AttemptState::Refused
        | AttemptState::Gone => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use azslurm_core::attempt::{AttemptPlace, AzureSays, NewAttempt};
    use azslurm_core::{AttemptId, Timestamp, VmName};
    use azslurm_ledger::{LeaseAsk, Take};
    use azslurm_program::now;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
    const SUBNET: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net\
        /providers/Microsoft.Network/virtualNetworks/v/subnets/s";
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5vIGtleSBpbiB0ZXN0cyBpcyBhIHNlY3JldCBrZXk= x";
    const MINUTE: Duration = Duration::from_secs(60);

    /// What Azure answers. Everything that it is not told is not there.
    #[derive(Debug, Clone, Default)]
    struct Azure {
        /// VMs that Resource Graph still shows.
        listed: Vec<String>,
        /// VMs that are there, with their `provisioningState`.
        there: Vec<(String, &'static str)>,
        /// VMs whose deletion is refused.
        denied: Vec<String>,
        /// What was asked: method and path.
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Azure {
        fn id(vm: &str) -> String {
            format!(
                "/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc/providers\
                 /Microsoft.Compute/virtualMachines/{vm}"
            )
        }

        fn answer(&self, method: &str, path: &str) -> (u16, String) {
            let name = path.split(['?', '/']).find(|part| part.starts_with("n1-")).unwrap_or("");
            if path.contains("/oauth2/") {
                let token = r#""access_token":"t","token_type":"Bearer","resource":"r""#;
                return (
                    200,
                    format!(r#"{{{token},"expires_in":"3600","expires_on":"4000000000"}}"#),
                );
            }
            self.asked.lock().unwrap().push(format!("{method} {path}"));
            if path.contains("Microsoft.ResourceGraph") {
                return (200, self.listing());
            }
            if path.contains("/operations/") {
                return (200, r#"{"status":"InProgress"}"#.to_owned());
            }
            let state = self.there.iter().find(|(vm, _)| vm == name).map(|(_, state)| state);
            match (method, state) {
                ("DELETE", _) if self.denied.iter().any(|vm| vm == name) => {
                    (403, r#"{"error":{"code":"AuthorizationFailed","message":"no"}}"#.to_owned())
                }
                ("DELETE", _) => (204, String::new()),
                (_, Some(state)) => {
                    let (id, state) =
                        (Azure::id(name), format!(r#""provisioningState":"{state}""#));
                    let name = format!(r#""id":"{id}","name":"{name}""#);
                    (200, format!(r#"{{{name},"properties":{{{state}}}}}"#))
                }
                (_, None) => (404, r#"{"error":{"code":"ResourceNotFound"}}"#.to_owned()),
            }
        }

        fn listing(&self) -> String {
            let row = |vm: &String| {
                let id = Azure::id(vm);
                let tags = r#""tags":{"azslurm-cluster":"t","azslurm-node":"n1"}"#;
                format!(r#"{{"id":"{id}","name":"{vm}",{tags},"prov":"Succeeded"}}"#)
            };
            let rows: Vec<String> = self.listed.iter().map(row).collect();
            let count = rows.len();
            let rows = rows.join(",");
            format!(r#"{{"totalRecords":{count},"count":{count},"data":[{rows}]}}"#)
        }

        async fn serve(self, listener: TcpListener) {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().talk(stream));
            }
        }

        /// One request per connection.
        async fn talk(self, stream: TcpStream) {
            let mut stream = BufReader::new(stream);
            let (mut head, mut length) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if line.trim().is_empty() {
                    break;
                }
                let lower = line.to_ascii_lowercase();
                if let Some(text) = lower.strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                head.push(line);
            }
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            let mut words = head.first().unwrap().split(' ');
            let (status, body) = self.answer(words.next().unwrap(), words.next().unwrap());
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    }

    /// A driver's surroundings: a config, a ledger in which `suspend` holds `n1`, and Azure.
    struct Stage {
        dir: PathBuf,
        url: String,
        session: Session,
        holder: Holder,
        lease: Lease,
    }

    impl Drop for Stage {
        fn drop(&mut self) {
            let _left_behind = fs::remove_dir_all(&self.dir);
        }
    }

    impl Stage {
        async fn with(name: &str, azure: &Azure) -> Stage {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(azure.clone().serve(listener));
            let dir = format!("azslurm-suspend-{}-{name}", std::process::id());
            let dir = std::env::temp_dir().join(dir);
            fs::create_dir_all(&dir).unwrap();
            let path = dir.join("azslurm.toml");
            fs::write(&path, config(&dir.display().to_string(), &url)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let mut session = Session::open("azslurm-suspend", Some(&path)).unwrap();
            session.connect().unwrap();
            let holder: Holder = "suspend".parse().unwrap();
            let ask = LeaseAsk {
                holder: &holder,
                take: Take::Seize,
                now: now(),
                until: now().plus(5 * MINUTE),
            };
            let lease = session.ledger.write(|writer| writer.lease(&node(), &ask)).unwrap();
            let lease = lease.granted().unwrap();
            Stage { dir, url, session, holder, lease }
        }

        /// Writes an attempt that has gone through `changes`, all of them at `at`.
        fn attempt(&mut self, (number, at): (i64, Timestamp), changes: &[Change]) {
            let new = new_attempt(number);
            let lease = &self.lease;
            self.session
                .ledger
                .write(|writer| {
                    let intended = writer.intend(lease, &new, at, at)?;
                    assert!(matches!(intended, Recorded::Done(_)), "{intended:?}");
                    for change in changes {
                        let recorded = writer.record(lease, &new.vm, change, at)?;
                        assert!(matches!(recorded, Recorded::Done(_)), "{change:?} {recorded:?}");
                    }
                    Ok::<_, LedgerError>(())
                })
                .unwrap();
        }

        fn state(&self, number: i64) -> AttemptState {
            self.session.ledger.attempt(&vm(number)).unwrap().unwrap().state
        }

        async fn drive(&mut self) -> Driven {
            drive(&mut self.session, &self.holder, EndReason::Orphaned).await.unwrap()
        }

        /// One look at a deletion that Azure took.
        async fn look(&mut self, number: i64) {
            let attempt = self.session.ledger.attempt(&vm(number)).unwrap().unwrap();
            let mut errands = Errands::new([self.lease.clone()], &self.session.clients);
            add(&mut errands, &self.session, &self.lease, &attempt);
            let until = Instant::now() + MINUTE;
            while errands.next(&mut self.session.ledger, until).await.unwrap().is_some() {}
        }
    }

    fn config(dir: &str, url: &str) -> String {
        format!(
            r#"
[cluster]
name = "t"
[slurm]
bin_dir = "/nonexistent"
[ledger]
path = "{dir}/ledger.db"
[log]
file = "{dir}/azslurm.log"
[cloud]
name = "custom"
authority = "{url}"
resource_manager = "{url}"
audience = "{url}"
resource_graph = "{url}"
imds = "{url}"
[site.west]
subscription = "{SUBSCRIPTION}"
region = "westeurope"
resource_group = "hpc"
subnet = "{SUBNET}"
[nodeset.n]
nodes = "n[1-9]"
sites = ["west"]
sku = "Standard_D4s_v5"
image = "microsoft-dsvm:ubuntu-hpc:2204:latest"
ssh_public_key = "{KEY}"
"#
        )
    }

    fn node() -> NodeName {
        "n1".parse().unwrap()
    }

    fn vm(number: i64) -> VmName {
        new_attempt(number).vm
    }

    fn new_attempt(number: i64) -> NewAttempt {
        let attempt = AttemptId::from_number(number).unwrap();
        NewAttempt {
            vm: VmName::of(&node(), attempt),
            node: node(),
            attempt,
            nodeset: "n".parse().unwrap(),
            place: AttemptPlace {
                site: "west".parse().unwrap(),
                subscription: SUBSCRIPTION.to_owned(),
                resource_group: "hpc".to_owned(),
                region: azslurm_core::config::Region::new("westeurope").unwrap(),
                zone: None,
                block: None,
            },
            sku: azslurm_core::config::Sku::new("Standard_D4s_v5").unwrap(),
            is_spot: false,
            image: "p:o:s:v".to_owned(),
            body_hash: "00".to_owned(),
            jobs: Vec::new(),
        }
    }

    fn accepted() -> Change {
        Change::Accepted { operation: None, request_id: None }
    }

    fn to_go() -> Change {
        Change::DeleteIntended { why: EndReason::Suspended, says: None }
    }

    #[tokio::test]
    async fn leases_that_were_just_given_are_not_given_again() {
        let mut stage = Stage::with("given", &Azure::default()).await;
        let before = stage.session.ledger.transactions();
        assert_eq!(stage.session.leases_renewed(&stage.holder).unwrap(), [stage.lease.clone()]);
        assert_eq!(stage.session.ledger.transactions(), before);
        // One that ends soon has all of them renewed.
        let (holder, soon) = (stage.holder.clone(), now().plus(MINUTE));
        let ask = LeaseAsk { holder: &holder, take: Take::IfFree, now: now(), until: soon };
        let other: NodeName = "n2".parse().unwrap();
        stage.session.ledger.write(|writer| writer.lease(&other, &ask)).unwrap();
        let renewed = stage.session.leases_renewed(&holder).unwrap();
        assert_eq!(renewed.len(), 2);
        assert!(renewed.iter().all(|lease| lease.until() > soon.plus(MINUTE)), "{renewed:?}");
    }

    #[tokio::test]
    async fn a_deletion_that_azure_refuses_is_left() {
        let denied = vec![vm(2).to_string()];
        let mut stage = Stage::with("refuses", &Azure { denied, ..Azure::default() }).await;
        stage.attempt((1, now()), &[accepted(), to_go()]);
        stage.attempt((2, now()), &[accepted(), to_go()]);
        assert_eq!(stage.drive().await, Driven { sent: 1, left: 1 });
        assert_eq!(stage.state(1), AttemptState::Gone);
        assert_eq!(stage.state(2), AttemptState::DeleteIntended);
    }

    #[tokio::test]
    async fn a_deletion_whose_node_another_program_took_over_is_not_counted_as_sent() {
        let stage = Stage::with("taken", &Azure::default()).await;
        let lease = &stage.lease;
        let noted = |recorded, change| Noted { lease: lease.clone(), vm: vm(1), change, recorded };
        let done = Recorded::Done(AttemptState::Gone);
        assert!(is_sent(&noted(done, Change::Gone)));
        assert!(!is_sent(&noted(Recorded::LeaseLost, Change::Gone)));
        assert!(!is_sent(&noted(done, Change::DeleteFailed(AzureSays::default()))));
    }

    #[tokio::test]
    async fn a_vm_that_arrived_after_its_end_is_deleted_only_if_it_is_there() {
        let names: Vec<String> = (1..=4).map(|number| vm(number).to_string()).collect();
        let azure = Azure {
            listed: names.clone(),
            there: vec![(names[0].clone(), "Succeeded"), (names[2].clone(), "Deleting")],
            ..Azure::default()
        };
        let mut stage = Stage::with("late", &azure).await;
        stage.attempt((1, now()), &[Change::Refused(AzureSays::default())]);
        stage.attempt((2, now()), &[accepted(), to_go(), Change::Gone]);
        stage.attempt((3, now()), &[accepted(), to_go(), Change::Gone]);
        // The first is there, the second is only listed, the third goes already, and the fourth is
        // unknown.
        let before = stage.session.ledger.attempt(&vm(2)).unwrap();
        assert_eq!(stage.drive().await, Driven { sent: 2, left: 0 });
        assert_eq!(stage.session.ledger.attempt(&vm(2)).unwrap(), before);
        let asked = azure.asked.lock().unwrap().clone();
        let of = |method: &str, number: usize| {
            let is_it =
                |line: &&String| line.starts_with(method) && line.contains(&names[number - 1]);
            asked.iter().filter(is_it).count()
        };
        assert_eq!([1, 2, 3, 4].map(|number| of("GET", number)), [1, 1, 1, 0], "{asked:?}");
        assert_eq!([1, 2, 3, 4].map(|number| of("DELETE", number)), [1, 0, 0, 1], "{asked:?}");
    }

    #[tokio::test]
    async fn an_operation_that_never_ends_hides_an_absence_for_ten_minutes_only() {
        let azure = Azure::default();
        let mut stage = Stage::with("never", &azure).await;
        let operation = Some(format!("{}/subscriptions/{SUBSCRIPTION}/operations/1", stage.url));
        let life = [accepted(), to_go(), Change::DeleteAccepted { operation, request_id: None }];
        let ago = |time: Duration| {
            let past = i64::try_from(time.as_millis()).unwrap();
            Timestamp::from_millis(now().as_millis() - past)
        };
        stage.attempt((1, ago(11 * MINUTE)), &life);
        stage.attempt((2, ago(9 * MINUTE)), &life);
        stage.look(1).await;
        stage.look(2).await;
        assert_eq!(stage.state(1), AttemptState::Gone);
        assert_eq!(stage.state(2), AttemptState::Deleting);
        let asked = azure.asked.lock().unwrap();
        let polls = asked.iter().filter(|line| line.contains("/operations/")).count();
        assert_eq!((polls, asked.len()), (2, 3), "{asked:?}");
    }
}
