//! The points at which a process may be killed.

super::listed! {
    /// A point at which a process may be killed. Those of a commit come first, in the order in
    /// which it passes them.
    pub enum Point {
        /// A change is decided, and nobody but its maker knows.
        Decided,
        /// A batch of commits goes to the store.
        Batched,
        /// The writer has taken a group of batches, and planned nothing.
        BeforeEncode,
        /// Every row of it is encoded.
        AfterEncode,
        /// A transaction is made, and not begun yet.
        BeforePut,
        /// It took place, in memory.
        AfterPut,
        /// A group is applied to the database, and not flushed yet.
        BeforeFlush,
        /// It is flushed, and not synced yet.
        AfterFlush,
        /// It is synced, and not marked yet.
        AfterSync,
        /// It is marked as durable, and neither readers nor callers know.
        AfterMark,
        /// Readers see it.
        BeforeAnswer,
        /// The store has answered the batch.
        AfterAnswer,
        /// A change is known to be durable, and not visible yet.
        BeforePublish,
        /// It is visible, and whoever asked for it has not been answered.
        BeforeAcknowledge,
        /// Everybody has been answered.
        AfterAcknowledge,
        /// The folder is locked, and nothing in it has been looked at.
        OpenLocked,
        /// The database is open, and not compared with the mark.
        OpenRead,
        /// Everything that opening does is done.
        Opened,
        /// A worker is about to register.
        BeforeBegin,
        /// It is registered in the database, and not on the device.
        BeginPut,
        /// What a begin or a close settles is synced, and not marked.
        SettleSynced,
        /// It is marked, and the mark not synced.
        SettleMarked,
        /// It is registered.
        AfterBegin,
        /// A failed database was let go of.
        HealReleased,
        /// The reserve was given back, and the database is closed.
        HealRoom,
        /// The database is open again, and not in use yet.
        HealOpen,
        /// A store is about to close.
        BeforeClose,
        /// It is settled, and its database still open.
        CloseSettled,
        /// It is closed, and nobody knows.
        AfterClose,
    }
}
