-- Objects a stack has asked for. `document` is JSON with its format version in `v`; the table
-- knows nothing of its fields, so a new field needs no migration.
CREATE TABLE object (
    kind       TEXT    NOT NULL CHECK (kind IN ('service', 'route', 'consumer', 'api_key')),
    name       TEXT    NOT NULL,
    document   TEXT    NOT NULL,
    changed_at INTEGER NOT NULL, -- nanoseconds since the epoch
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Counters that never fall.
CREATE TABLE counter (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who changed what, in the same transaction as the change. Each `mac` covers the one before it.
CREATE TABLE audit (
    seq     INTEGER NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL, -- nanoseconds since the epoch
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    request TEXT    NOT NULL,
    mac     BLOB    NOT NULL
) STRICT;

-- Requests per route and minute.
CREATE TABLE rollup (
    route    TEXT    NOT NULL,
    minute   INTEGER NOT NULL, -- minutes since the epoch
    requests INTEGER NOT NULL,
    errors   INTEGER NOT NULL, -- status 500 and above
    latency  TEXT    NOT NULL, -- JSON array of counts, one per latency bucket
    PRIMARY KEY (route, minute)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollup_by_minute ON rollup (minute);
