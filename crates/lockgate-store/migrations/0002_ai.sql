-- Vendors and models become objects; the list of kinds is part of the table, so it is made anew.
CREATE TABLE object_2 (
    kind       TEXT    NOT NULL
        CHECK (kind IN ('service', 'route', 'consumer', 'api_key', 'ai_vendor', 'ai_model')),
    name       TEXT    NOT NULL,
    document   TEXT    NOT NULL,
    changed_at INTEGER NOT NULL, -- nanoseconds since the epoch
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
INSERT INTO object_2 SELECT kind, name, document, changed_at FROM object;
DROP TABLE object;
ALTER TABLE object_2 RENAME TO object;

-- One row per call to an AI vendor. A row changes only while its status is `open`.
CREATE TABLE ai_call (
    request        TEXT    NOT NULL,
    attempt        INTEGER NOT NULL,
    at             INTEGER NOT NULL, -- nanoseconds since the epoch
    ended_at       INTEGER,
    route          TEXT    NOT NULL,
    consumer       TEXT,
    api_key        TEXT,
    alias          TEXT    NOT NULL,
    vendor         TEXT    NOT NULL,
    vendor_model   TEXT    NOT NULL,
    operation      TEXT    NOT NULL,
    stream         INTEGER NOT NULL,
    status         TEXT    NOT NULL,
    http_status    INTEGER,
    input_estimate INTEGER NOT NULL,
    usage          TEXT    NOT NULL, -- JSON array of token counts
    input_tokens   INTEGER NOT NULL,
    output_tokens  INTEGER NOT NULL,
    estimated      INTEGER NOT NULL,
    price_version  TEXT,
    currency       TEXT,
    rates          TEXT, -- JSON array of pico-units per token
    cost_micros    INTEGER NOT NULL,
    cost_rest_pico INTEGER NOT NULL,
    PRIMARY KEY (request, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX ai_call_by_time ON ai_call (at);
CREATE INDEX ai_call_open ON ai_call (status) WHERE status = 'open';
