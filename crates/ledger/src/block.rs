//! The lives of blocks: placement group and availability set, from the intent to make them until
//! both are gone. Where a block is put and when it has to go is not decided here.
//!
//! ```text
//! intended ──both made──► made ──empty──► delete-intended ──both absent──► gone
//!    └──────────empty─────────────────────────┘
//! ```

use azslurm_core::block::{BlockName, BlockState, Incarnation};
use azslurm_core::config::{Region, Sku};
use azslurm_core::{AttemptId, SiteName, Timestamp};

use crate::reader::{Cells, Query};
use crate::{Event, Holder, LedgerError, Reader, Writer};

/// A life of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Which block, and which of its lives.
    pub life: Incarnation,
    /// Where.
    pub site: SiteName,
    /// Subscription id.
    pub subscription: String,
    /// Resource group.
    pub resource_group: String,
    /// Region.
    pub region: Region,
    /// The name of its placement group and of its availability set.
    pub name: String,
    /// The size that its VMs have.
    pub sku: Sku,
    /// What we know of it.
    pub state: BlockState,
    /// Who makes it.
    pub maker: Option<Holder>,
    /// When it was intended.
    pub intended_at: Timestamp,
}

const UNFINISHED: &str = "SELECT block, incarnation, site, subscription, resource_group, region,
        name, sku, state, maker, intended_at FROM blocks
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
                      state, maker, intended_at FROM blocks
                  WHERE block = ?1 AND incarnation = ?2",
        };
        self.row(&query, (life.block.to_string(), life.number.number()), read)
    }
}

impl Writer<'_> {
    /// Writes the intent to make a block, before anything of it is sent. Together with the intents
    /// of its first VMs: a block without any is taken for empty. The same intent twice is one.
    pub fn intend_block(&mut self, block: &Block, now: Timestamp) -> Result<(), LedgerError> {
        let sql = "INSERT OR IGNORE INTO blocks (block, incarnation, site, subscription,
                       resource_group, region, name, sku, state, maker, intended_at, changed_at)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)";
        let params = rusqlite::params![
            block.life.block.to_string(),
            block.life.number.number(),
            block.site.as_str(),
            block.subscription,
            block.resource_group,
            block.region.as_str(),
            block.name,
            block.sku.as_str(),
            BlockState::Intended.word(),
            block.maker.as_ref().map(Holder::as_str),
            now.as_millis(),
        ];
        if self.change("writing a block", sql, params)? > 0 {
            let text = format!("to make block {} as {}", block.life.block, block.name);
            self.event(&block.event(now, "block-intended", text))?;
        }
        Ok(())
    }

    /// Takes the making of an intended block over. `false`: it is not to be made any more.
    pub fn claim_block(
        &mut self,
        life: &Incarnation,
        maker: &Holder,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let sql = "UPDATE blocks SET maker = ?3, changed_at = ?4
                   WHERE block = ?1 AND incarnation = ?2 AND state = 'intended'";
        let (block, number) = (life.block.to_string(), life.number.number());
        let params = (block, number, maker.as_str(), now.as_millis());
        Ok(self.change("claiming a block", sql, params)? > 0)
    }

    /// Group and set are there. Changes nothing in a block that is to go already.
    pub fn block_made(&mut self, block: &Block, now: Timestamp) -> Result<(), LedgerError> {
        let sql = "UPDATE blocks SET state = 'made', maker = NULL, changed_at = ?3
                   WHERE block = ?1 AND incarnation = ?2 AND state = 'intended'";
        if self.change_block(block, sql, now)? {
            let text = format!("placement group and availability set {} are there", block.name);
            self.event(&block.event(now, "block-made", text))?;
        }
        Ok(())
    }

    /// Decides that every block without an attempt that has not ended is to go. Those that are to
    /// go now, these and earlier ones.
    pub fn retire_blocks(&mut self, now: Timestamp) -> Result<Vec<Block>, LedgerError> {
        let is_empty = |reader: &Reader, life: &Incarnation| -> Result<bool, LedgerError> {
            let query = Query {
                doing: "looking for the VMs of a block",
                table: "attempts",
                sql: "SELECT count(*) AS count FROM attempts
                      WHERE block = ?1 AND incarnation = ?2 AND ended_at IS NULL",
            };
            let params = (life.block.to_string(), life.number.number());
            let count = reader.row(&query, params, |cells| cells.integer("count"))?;
            Ok(count == Some(0))
        };
        let mut retired = Vec::new();
        for mut block in self.blocks_unfinished()? {
            if block.state.is_open() && is_empty(self, &block.life)? {
                let sql = "UPDATE blocks SET state = 'delete-intended', maker = NULL,
                               changed_at = ?3
                           WHERE block = ?1 AND incarnation = ?2";
                self.change_block(&block, sql, now)?;
                let text = format!("block {} is empty: {} is to go", block.life.block, block.name);
                self.event(&block.event(now, "block-retired", text))?;
                block.state = BlockState::DeleteIntended;
                block.maker = None;
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
            self.event(&block.event(now, "block-gone", text))?;
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

impl Block {
    fn event(&self, now: Timestamp, kind: &str, text: String) -> Event {
        Event { site: Some(self.site.clone()), ..Event::new(now, kind, text) }
    }
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
        maker: cells.name_or_null("maker")?,
        intended_at: cells.time("intended_at")?,
    })
}
