//! LG05xx: the gateway.

codes! {
    DUPLICATE_NAME = "LG0501", "two gateway objects have one name", "Routes, consumers, API keys and upstreams are found by their name or id, so each must be unique.";
    UNKNOWN_UPSTREAM = "LG0502", "a route names an upstream that does not exist", "Every backend of a route must name an upstream of the same spec.";
    UNKNOWN_CONSUMER = "LG0503", "a consumer does not exist", "API keys and the consumer lists of routes must name consumers of the same spec.";
    BAD_HOST = "LG0504", "a host is malformed", "Hosts are exact names such as `api.example.org`, or `*.example.org`; in lower case and without a port.";
    BAD_PATH = "LG0505", "a path is not in normal form", "Paths start with `/` and are compared in their normal form: no `.` or `..` segments, no repeated slashes, no encoded letters.";
    BAD_MATCH = "LG0506", "a method, header or query match is malformed", "Methods are upper-case tokens; header names are lower-case tokens; query names are not empty.";
    BAD_LIMIT = "LG0507", "a rate limit cannot be enforced", "A limit needs at least one request per period, a burst of at least one, and at most ten million requests per second.";
    NO_BACKEND = "LG0508", "a route has no backend that can be chosen", "A route needs at least one backend with a weight above zero.";
    BAD_TIMEOUT = "LG0509", "a time limit is zero", "Every time limit of a route must be longer than zero.";
    ROUTE_NEVER_MATCHES = "LG0510", "a route can never match", "Another route takes every request this one asks for. Change the path, host or conditions of one of them, or remove it.";
    TABLE_FILE = "LG0511", "the stored gateway table cannot be used", "The file is torn, of an unknown version or unreadable. It is left as it is; the gateway serves without it until the control plane sends a table.";
    BAD_KEY_ID = "LG0512", "an API key id is malformed", "The public part of a key is 16 lower-case hex digits.";
    TOO_MANY_OBJECTS = "LG0513", "the gateway spec is too large", "The number of routes, consumers, keys or path segments is over its cap.";
    BAD_AUTH_HEADER = "LG0514", "the header of a key policy is malformed", "The header that carries the key is a lower-case token, and not one that frames or routes the message.";
}
