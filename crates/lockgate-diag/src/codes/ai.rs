//! LG06xx: the AI gateway.

codes! {
    BAD_BASE_URL = "LG0601", "the base URL of a vendor cannot be used", "A vendor's base URL is `https://host[:port][/path]`, such as `https://api.openai.com/v1`, or the same with `http://`. Its certificate is verified against the roots of the system and those in `caCertificates`; both settings and `serverName` are for `https://` only.";
    BAD_PRICES = "LG0602", "a price file cannot be used", "A price file is TOML: `currency`, and one `[[price]]` per model and day with `model`, `valid_from`, `input` and `output`. Prices are decimal text in units of the currency per million tokens.";
    UNKNOWN_VENDOR = "LG0603", "a vendor does not exist", "A model names a vendor that this node does not know. Apply the vendor first, or let the model depend on it.";
    UNKNOWN_MODEL = "LG0604", "a model does not exist", "An AI route names a model that this node does not know. Apply the model first, or let the route depend on it.";
    BAD_MODEL = "LG0605", "a model cannot be used", "A model has an alias of printable characters, and at least one lane with a weight above zero and a vendor model.";
    DUPLICATE_ALIAS = "LG0606", "an AI route has two models of one alias", "Clients name a model by its alias, so the aliases of one route must differ.";
    BAD_VENDOR_KEY = "LG0607", "the key of a vendor cannot be sent", "A vendor's key travels in a header: it is printable ASCII without spaces and not empty.";
    BAD_AI_ROUTE = "LG0608", "an AI route has backends or no models", "On an AI route models answer, so it names at least one model and no backend.";
    LEDGER = "LG0609", "the ledger of AI calls cannot be used", "Every call to a vendor leaves a durable row. The causes say what the ledger's folder or database refused; a full or failing disk is the usual reason.";
    LEDGER_DAMAGED = "LG0620", "files of the ledger are damaged", "A segment of the ledger held bytes that are no entry, or not all of its entries: the disk changed them, or the machine died while they were written. Whole entries before and after them are counted. The file stays in the ledger's folder as `*.damaged` until somebody removes it; the node's log names file and offset.";
    LEDGER_BEHIND = "LG0621", "the database takes no entries of the ledger", "Calls are recorded in the ledger's files first and in the node's database soon after. The database refuses at the moment, so reports lack the newest calls; nothing is lost, and they appear once it works again.";
}
