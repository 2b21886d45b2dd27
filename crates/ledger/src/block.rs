//! The lives of blocks: placement group and availability set, from the intent to make them until
//! both are gone. Where a block is put and when it has to go is not decided here.
//!
//! ```text
//! intended ──both made──► made ──empty──► delete-intended ──both absent──► gone
//!    └──────────empty─────────────────────────┘
//! ```
//!
//! What Azure has of a life that the ledger has lost, or calls gone, begins at `delete-intended`.

use azslurm_core::block::{Block, BlockName, BlockState, Incarnation};
use azslurm_core::config::{Region, Sku};
use azslurm_core::{AttemptId, Timestamp};

use crate::reader::{Cells, Query};
use crate::{Event, LedgerError, Reader, Writer};

const UNFINISHED: &str = "SELECT block, incarnation, site, subscription, resource_group, region,
        name, sku, state FROM blocks
     WHERE ended_at IS NULL ORDER BY block, incarnation";

impl Reader {
    /// All lives that are not ended, by block and age.
    pub fn blocks_unfinished(&self) -> Result<Vec<Block>, LedgerError> {
        let query = Query { doing: "reading blocks", table: "blocks", sql: UNFINISHED };
        self.rows(&query, (), read)
    }

    /// One life, also when it has ended.
    pub fn block(&self, life: &Incarnation) -> Result<Option<Block>, LedgerError> {
        let query = Query {
            doing: "reading a block",
            table: "blocks",
            sql: "SELECT block, incarnation, site, subscription, resource_group, region, name, sku,
                      state FROM blocks
                  WHERE block = ?1 AND incarnation = ?2",
        };
        self.row(&query, (life.block.to_string(), life.number.number()), read)
    }

    /// Whether a life has no attempt that has not ended.
    fn is_empty(&self, life: &Incarnation) -> Result<bool, LedgerError> {
        let query = Query {
            doing: "looking for the VMs of a block",
            table: "attempts",
            sql: "SELECT count(*) AS count FROM attempts
                  WHERE block = ?1 AND incarnation = ?2 AND ended_at IS NULL",
        };
        let params = (life.block.to_string(), life.number.number());
        let count = self.row(&query, params, |cells| cells.integer("count"))?;
        Ok(count == Some(0))
    }
}

impl Writer<'_> {
    /// Writes the intent to make a block, before anything of it is sent. Together with the intents
    /// of its first VMs: a block without any is taken for empty. The same intent twice is one.
    pub fn intend_block(&mut self, block: &Block, now: Timestamp) -> Result<(), LedgerError> {
        if self.insert_block(block, BlockState::Intended, (now, now))? {
            let text = format!("to make block {} as {}", block.life.block, block.name);
            self.event(&event(block, now, "block-intended", text))?;
        }
        Ok(())
    }

    /// Writes a life that Azure has and the ledger does not know (it was lost). Whether it did not.
    pub fn adopt_block(&mut self, block: &Block, now: Timestamp) -> Result<bool, LedgerError> {
        let began_at = block.life.number.began_at();
        let is_new = self.insert_block(block, BlockState::Made, (began_at, now))?;
        if is_new {
            let text = format!("azure has {} and the ledger did not know it", block.name);
            self.event(&event(block, now, "block-adopted", text))?;
        }
        Ok(is_new)
    }

    /// Decides that a life that Azure has and the ledger does not know, or calls gone, is to go.
    /// Changes nothing in one that has not ended, or that has an attempt that has not. Whether it
    /// is decided.
    pub fn doom_block(&mut self, block: &Block, now: Timestamp) -> Result<bool, LedgerError> {
        if !self.is_empty(&block.life)? {
            return Ok(false);
        }
        // Azure's word counts, also about where it is.
        let again = "UPDATE blocks SET state = 'delete-intended', site = ?4, subscription = ?5,
                         resource_group = ?6, region = ?7, name = ?8, changed_at = ?3,
                         ended_at = NULL
                     WHERE block = ?1 AND incarnation = ?2 AND state = 'gone'";
        let params = rusqlite::params![
            block.life.block.to_string(),
            block.life.number.number(),
            now.as_millis(),
            block.site.as_str(),
            block.subscription,
            block.resource_group,
            block.region.as_str(),
            block.name,
        ];
        let times = (block.life.number.began_at(), now);
        let is_doomed = self.insert_block(block, BlockState::DeleteIntended, times)?
            || self.change("changing a block", again, params)? > 0;
        if is_doomed {
            let text = format!(
                "azure has {}, which no VM is in and the ledger did not know: it is to go",
                block.name
            );
            self.event(&event(block, now, "block-forgotten", text))?;
        }
        Ok(is_doomed)
    }

    fn insert_block(
        &mut self,
        block: &Block,
        state: BlockState,
        (intended_at, now): (Timestamp, Timestamp),
    ) -> Result<bool, LedgerError> {
        let sql = "INSERT OR IGNORE INTO blocks (block, incarnation, site, subscription,
                       resource_group, region, name, sku, state, intended_at, changed_at)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let params = rusqlite::params![
            block.life.block.to_string(),
            block.life.number.number(),
            block.site.as_str(),
            block.subscription,
            block.resource_group,
            block.region.as_str(),
            block.name,
            block.sku.as_str(),
            state.word(),
            intended_at.as_millis(),
            now.as_millis(),
        ];
        Ok(self.change("writing a block", sql, params)? > 0)
    }

    /// Group and set are there. Changes nothing in a block that is to go already.
    pub fn block_made(&mut self, block: &Block, now: Timestamp) -> Result<(), LedgerError> {
        let sql = "UPDATE blocks SET state = 'made', changed_at = ?3
                   WHERE block = ?1 AND incarnation = ?2 AND state = 'intended'";
        if self.change_block(block, sql, now)? {
            let text = format!("placement group and availability set {} are there", block.name);
            self.event(&event(block, now, "block-made", text))?;
        }
        Ok(())
    }

    /// Decides that every block without an attempt that has not ended is to go. Those that are to
    /// go now, these and earlier ones.
    pub fn retire_blocks(&mut self, now: Timestamp) -> Result<Vec<Block>, LedgerError> {
        let mut retired = Vec::new();
        for mut block in self.blocks_unfinished()? {
            if block.state.is_open() && self.is_empty(&block.life)? {
                let sql = "UPDATE blocks SET state = 'delete-intended', changed_at = ?3
                           WHERE block = ?1 AND incarnation = ?2";
                self.change_block(&block, sql, now)?;
                let text = format!("block {} is empty: {} is to go", block.life.block, block.name);
                self.event(&event(&block, now, "block-retired", text))?;
                block.state = BlockState::DeleteIntended;
            }
            if block.state == BlockState::DeleteIntended {
                retired.push(block);
            }
        }
        Ok(retired)
    }

    /// Group and set are confirmed absent.
    pub fn block_gone(&mut self, block: &Block, now: Timestamp) -> Result<(), LedgerError> {
        let sql = "UPDATE blocks SET state = 'gone', changed_at = ?3, ended_at = ?3
                   WHERE block = ?1 AND incarnation = ?2 AND state = 'delete-intended'";
        if self.change_block(block, sql, now)? {
            let text = format!("placement group and availability set {} are gone", block.name);
            self.event(&event(block, now, "block-gone", text))?;
        }
        Ok(())
    }

    /// Forgets lives that ended before a time, but never a block's latest: its number must not
    /// repeat. How many.
    pub fn prune_blocks(&mut self, ended_before: Timestamp) -> Result<usize, LedgerError> {
        self.change(
            "pruning blocks",
            "DELETE FROM blocks WHERE ended_at < ?1 AND EXISTS (
                 SELECT 1 FROM blocks AS later
                 WHERE later.block = blocks.block AND later.incarnation > blocks.incarnation)",
            (ended_before.as_millis(),),
        )
    }

    fn change_block(
        &mut self,
        block: &Block,
        sql: &str,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let life = &block.life;
        let params = (life.block.to_string(), life.number.number(), now.as_millis());
        Ok(self.change("changing a block", sql, params)? > 0)
    }
}

fn event(block: &Block, now: Timestamp, kind: &str, text: String) -> Event {
    Event { site: Some(block.site.clone()), ..Event::new(now, kind, text) }
}

fn read(cells: &mut Cells<'_>) -> Result<Block, LedgerError> {
    Ok(Block {
        life: Incarnation {
            block: cells.word("block", |text| text.parse::<BlockName>().ok())?,
            number: cells.number("incarnation", AttemptId::from_number)?,
        },
        site: cells.name("site")?,
        subscription: cells.text("subscription")?,
        resource_group: cells.text("resource_group")?,
        region: cells.word("region", Region::new)?,
        name: cells.text("name")?,
        sku: cells.word("sku", Sku::new)?,
        state: cells.word("state", BlockState::from_word)?,
    })
}

#[cfg(test)]
mod tests {
    use azslurm_core::attempt::{AttemptPlace, AzureSays, Change, NewAttempt};

    use super::*;
    use crate::sample::{at, leased, new_attempt, write};
    use crate::{Ledger, Recorded};

    fn block(number: i64) -> Block {
        let place = new_attempt("n1", 1).place;
        Block {
            life: Incarnation {
                block: "hb-b1".parse().unwrap(),
                number: AttemptId::from_number(number).unwrap(),
            },
            site: place.site,
            subscription: place.subscription,
            resource_group: place.resource_group,
            region: place.region,
            name: format!("c-hb-b1-{number}"),
            sku: Sku::new("Standard_HB120rs_v3").unwrap(),
            state: BlockState::Intended,
        }
    }

    fn states(ledger: &Ledger) -> Vec<BlockState> {
        ledger.blocks_unfinished().unwrap().iter().map(|block| block.state).collect()
    }

    #[test]
    fn a_block_lives_as_long_as_an_attempt_in_it_and_not_longer() {
        let (mut ledger, lease) = leased();
        let block = block(5);
        let mut new = new_attempt("n1", 1);
        new.place = AttemptPlace { zone: None, block: Some(block.life.clone()), ..new.place };
        let says = AzureSays::default();
        write(&mut ledger, |writer| {
            writer.intend_block(&block, at(1))?;
            writer.intend_block(&block, at(1))?;
            assert!(matches!(writer.intend(&lease, &new, at(1), at(9))?, Recorded::Done(_)));
            assert_eq!(writer.retire_blocks(at(2))?, []);
            writer.block_made(&block, at(2))
        });
        assert_eq!(states(&ledger), [BlockState::Made]);
        assert_eq!(ledger.attempt(&new.vm).unwrap().unwrap().is, NewAttempt { ..new.clone() });
        write(&mut ledger, |writer| {
            let refused = Change::Refused(says.clone());
            assert!(matches!(writer.record(&lease, &new.vm, &refused, at(3))?, Recorded::Done(_)));
            assert_eq!(writer.retire_blocks(at(4))?.len(), 1);
            // Late words change nothing.
            writer.block_made(&block, at(5))
        });
        assert_eq!(states(&ledger), [BlockState::DeleteIntended]);
        write(&mut ledger, |writer| {
            assert_eq!(writer.retire_blocks(at(6))?.len(), 1, "until it is gone");
            writer.block_gone(&block, at(7))
        });
        assert_eq!(states(&ledger), []);
        assert_eq!(ledger.block(&block.life).unwrap().unwrap().state, BlockState::Gone);
    }

    #[test]
    fn a_life_that_only_azure_knows_is_adopted_once_and_is_as_old_as_its_number() {
        let mut ledger = Ledger::in_memory().unwrap();
        let block = block(5);
        write(&mut ledger, |writer| {
            assert!(writer.adopt_block(&block, at(9))?);
            assert!(!writer.adopt_block(&block, at(10))?);
            Ok(())
        });
        assert_eq!(states(&ledger), [BlockState::Made]);
        let sql = "SELECT intended_at FROM blocks";
        let intended_at: i64 = ledger.connection.query_row(sql, (), |row| row.get(0)).unwrap();
        assert_eq!(intended_at, block.life.number.began_at().as_millis());
    }

    #[test]
    fn a_life_that_azure_has_and_nobody_knows_is_to_go_and_one_that_is_known_stays_as_it_is() {
        let (mut ledger, lease) = leased();
        let (lost, known) = (block(5), block(6));
        let mut new = new_attempt("n1", 1);
        new.place = AttemptPlace { zone: None, block: Some(block(7).life), ..new.place };
        write(&mut ledger, |writer| {
            writer.intend_block(&known, at(1))?;
            assert!(!writer.doom_block(&known, at(2))?, "it is followed");
            assert!(matches!(writer.intend(&lease, &new, at(1), at(9))?, Recorded::Done(_)));
            assert!(!writer.doom_block(&block(7), at(2))?, "a VM is made in it");
            assert!(writer.doom_block(&lost, at(2))?);
            assert!(!writer.doom_block(&lost, at(3))?, "once");
            // It is never open, so that nobody puts a VM into it.
            writer.block_made(&lost, at(3))
        });
        assert_eq!(states(&ledger), [BlockState::DeleteIntended, BlockState::Intended]);
        let elsewhere = Block { resource_group: "other".to_owned(), ..lost.clone() };
        write(&mut ledger, |writer| {
            writer.block_gone(&lost, at(4))?;
            assert!(writer.doom_block(&elsewhere, at(5))?, "Azure has it all the same");
            Ok(())
        });
        let found = ledger.blocks_unfinished().unwrap().remove(0);
        assert_eq!(
            (found.state, found.resource_group.as_str()),
            (BlockState::DeleteIntended, "other")
        );
        let sql = "SELECT count(*) FROM events WHERE kind = 'block-forgotten'";
        let told: i64 = ledger.connection.query_row(sql, (), |row| row.get(0)).unwrap();
        assert_eq!(told, 2);
    }

    #[test]
    fn the_latest_life_of_a_block_is_never_forgotten() {
        let mut ledger = Ledger::in_memory().unwrap();
        write(&mut ledger, |writer| {
            for number in [5, 6] {
                writer.intend_block(&block(number), at(1))?;
            }
            for retired in writer.retire_blocks(at(2))? {
                writer.block_gone(&retired, at(3))?;
            }
            assert_eq!(writer.prune_blocks(at(4))?, 1);
            Ok(())
        });
        assert_eq!(ledger.block(&block(5).life).unwrap(), None);
        assert!(ledger.block(&block(6).life).unwrap().is_some());
    }
}
