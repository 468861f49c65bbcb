BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'objects','2026-11-28 23:03:44',1,X'57370B98DBBCF2673EF24D2BBC7D272F4745883BF3E9C1F48B1FD9FDAAE1FD58A1B36C70DBB035B67B291EB07F5C97E9',0);
INSERT INTO "_sqlx_migrations" VALUES(2,'ai','2026-11-28 23:03:44',1,X'ED31BC78A1D796125C3EC87111E6873B832A84944B8BB4C360555722B19456992F0BB72EE9A03A1BC540296ACE96F222',0);
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
INSERT INTO "ai_call" VALUES('01a22466-784a-702a-93a7-5e9ec0ed754e',1,1795907024970904612,1795907024974129229,'ai/dev/api','ai/dev/caller','1a4a8687f6046484','fast','ai/dev/vendor','test-small','chat',0,'ok',200,16,'[140,0,0,0,180,0,0]',140,180,0,'48bfec5d062e9755','USD','[150000,75000,150000,150000,600000,600000,600000]',129,0);
INSERT INTO "ai_call" VALUES('01a22466-784f-75cb-86b4-95c1a1a50437',1,1795907024975014878,1795907024975131282,'ai/dev/api','ai/dev/caller','1a4a8687f6046484','embed','ai/dev/vendor','test-embed','embeddings',0,'ok',200,17,'[140,0,0,0,180,0,0]',140,180,0,'48bfec5d062e9755','USD','[20000,20000,20000,20000,0,0,0]',2,800000);
INSERT INTO "ai_call" VALUES('01a22466-784f-7eaa-b1b4-bbfda27f21ef',1,1795907024975467707,1795907024975938874,'ai/dev/api','ai/dev/caller','1a4a8687f6046484','fast','ai/dev/vendor','test-small','chat',1,'ok',200,16,'[140,0,0,0,180,0,0]',140,180,0,'48bfec5d062e9755','USD','[150000,75000,150000,150000,600000,600000,600000]',129,0);
INSERT INTO "ai_call" VALUES('01a22466-7850-7e60-ad2e-ce1450d0e5d1',1,1795907024976524432,1795907024978439090,'ai/dev/api','ai/dev/caller','1a4a8687f6046484','fast','ai/dev/vendor','test-small','chat',0,'ok',200,16,'[140,0,0,0,180,0,0]',140,180,0,'48bfec5d062e9755','USD','[150000,75000,150000,150000,600000,600000,600000]',129,0);
INSERT INTO "ai_call" VALUES('01a22466-7860-7e60-ad2e-ce1450d0e5d1',1,1795907025976524432,NULL,'ai/dev/api',NULL,NULL,'fast','ai/dev/vendor','test-small','chat',1,'open',NULL,30,'[30,0,0,0,2,0,0]',30,2,1,NULL,NULL,NULL,0,0);
CREATE TABLE audit (
    seq     INTEGER NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL, -- nanoseconds since the epoch
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    request TEXT    NOT NULL,
    mac     BLOB    NOT NULL
) STRICT;
CREATE TABLE counter (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "counter" VALUES('ai_ledger_applied',8);
CREATE TABLE "object" (
    kind       TEXT    NOT NULL
        CHECK (kind IN ('service', 'route', 'consumer', 'api_key', 'ai_vendor', 'ai_model')),
    name       TEXT    NOT NULL,
    document   TEXT    NOT NULL,
    changed_at INTEGER NOT NULL, -- nanoseconds since the epoch
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollup (
    route    TEXT    NOT NULL,
    minute   INTEGER NOT NULL, -- minutes since the epoch
    requests INTEGER NOT NULL,
    errors   INTEGER NOT NULL, -- status 500 and above
    latency  TEXT    NOT NULL, -- JSON array of counts, one per latency bucket
    PRIMARY KEY (route, minute)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollup_by_minute ON rollup (minute);
CREATE INDEX ai_call_by_time ON ai_call (at);
CREATE INDEX ai_call_open ON ai_call (status) WHERE status = 'open';
COMMIT;
