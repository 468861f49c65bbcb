-- What many calls have in common moves out of their rows.
CREATE TABLE ai_terms (
    id            INTEGER PRIMARY KEY,
    route         TEXT    NOT NULL,
    consumer      TEXT,
    api_key       TEXT,
    alias         TEXT    NOT NULL,
    vendor        TEXT    NOT NULL,
    vendor_model  TEXT    NOT NULL,
    operation     TEXT    NOT NULL,
    price_version TEXT,
    currency      TEXT,
    rates         TEXT -- JSON array of pico-units per token
) STRICT;

-- An index has every null apart, and these columns are not; no name begins with a NUL.
CREATE UNIQUE INDEX ai_terms_once ON ai_terms (
    route, alias, vendor, vendor_model, operation, IFNULL(consumer, char(0)),
    IFNULL(api_key, char(0)), IFNULL(price_version, char(0)), IFNULL(currency, char(0)),
    IFNULL(rates, char(0))
);

INSERT INTO ai_terms (route, consumer, api_key, alias, vendor, vendor_model, operation,
    price_version, currency, rates)
SELECT DISTINCT route, consumer, api_key, alias, vendor, vendor_model, operation, price_version,
    currency, rates FROM ai_call;

-- One row per call to an AI vendor. A row changes only while its status is `open`.
CREATE TABLE ai_call_2 (
    request        TEXT    NOT NULL,
    attempt        INTEGER NOT NULL,
    at             INTEGER NOT NULL, -- nanoseconds since the epoch
    ended_at       INTEGER,
    terms          INTEGER NOT NULL REFERENCES ai_terms (id),
    stream         INTEGER NOT NULL,
    status         TEXT    NOT NULL,
    http_status    INTEGER,
    input_estimate INTEGER NOT NULL,
    usage          TEXT    NOT NULL, -- JSON array of token counts
    input_tokens   INTEGER NOT NULL,
    output_tokens  INTEGER NOT NULL,
    estimated      INTEGER NOT NULL,
    cost_micros    INTEGER NOT NULL,
    cost_rest_pico INTEGER NOT NULL,
    PRIMARY KEY (request, attempt)
) STRICT, WITHOUT ROWID;

INSERT INTO ai_call_2
SELECT request, attempt, at, ended_at, t.id, stream, status, http_status, input_estimate, usage,
    input_tokens, output_tokens, estimated, cost_micros, cost_rest_pico
FROM ai_call c JOIN ai_terms t ON
    t.route = c.route AND t.alias = c.alias AND t.vendor = c.vendor
    AND t.vendor_model = c.vendor_model AND t.operation = c.operation
    AND IFNULL(t.consumer, char(0)) = IFNULL(c.consumer, char(0))
    AND IFNULL(t.api_key, char(0)) = IFNULL(c.api_key, char(0))
    AND IFNULL(t.price_version, char(0)) = IFNULL(c.price_version, char(0))
    AND IFNULL(t.currency, char(0)) = IFNULL(c.currency, char(0))
    AND IFNULL(t.rates, char(0)) = IFNULL(c.rates, char(0));

DROP TABLE ai_call;
ALTER TABLE ai_call_2 RENAME TO ai_call;
CREATE INDEX ai_call_by_time ON ai_call (at);
CREATE INDEX ai_call_open ON ai_call (status) WHERE status = 'open';
