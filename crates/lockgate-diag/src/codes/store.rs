//! LG07xx: store and control.

codes! {
    BAD_BACKEND = "LG0701", "a backend is neither a service nor the origin of a URL", "A backend is `service://project/stack/name`, or the origin of a URL such as `https://api.example.org` or `http://10.0.0.7:8080`. Paths belong to the route, not to the backend. Certificates and server names are for `https://` only.";
    UNRESOLVED_HOST = "LG0702", "the host of a backend has no address", "The node asked its resolver for the host of a backend URL and got no address. Check the name, or the resolver of the machine the node runs on.";
    UNKNOWN_SERVICE = "LG0703", "the node has no such service", "A route sends requests to a service that this node does not run. Apply the service first, or let the route depend on it.";
    UNKNOWN_CONSUMER = "LG0704", "the node has no such consumer", "A key or a route names a consumer that this node does not know. Apply the consumer first.";
    STILL_REFERENCED = "LG0705", "something else still needs the object", "Removing it would leave the named objects pointing at nothing. Remove them first.";
    BAD_OBJECT = "LG0706", "the object breaks a rule of the node", "A name, number or field of the object is not what the node accepts; the message names it.";
    BAD_API_KEY = "LG0707", "the text is not an API key", "An API key is `lgk_`, 16 hex digits, `_` and 64 hex digits, all in lower case. Keys are made by the `lockgate:gateway:ApiKey` resource.";
    TOO_MANY_OBJECTS = "LG0708", "the node holds as many objects as it may", "Each kind of object has a cap that keeps a node responsive. Remove objects that are no longer needed, or use a second node.";
    ROLLOUT_FAILED = "LG0709", "the new version did not become healthy", "The rollout was undone: new instances were stopped, and the old version, if there was one, serves on. The causes hold the first failure and the last lines the instance printed.";
    TABLE_REFUSED = "LG0710", "the gateway refused the change", "The routes that would result break a rule of the gateway, so the change was undone and the old table serves on. The causes hold each rule.";
    TABLE_SILENT = "LG0711", "the gateway did not take the change in time", "The gateway neither served nor refused the new table, so the change was undone. Look into the node's log.";
    STORE_FAILED = "LG0712", "the store of the node failed", "A change was undone because it could not be made durable, or a list could not be read. Look into the node's log; a full or failing disk is the usual reason.";
    NODE_CLOSING = "LG0713", "the node is shutting down", "The node takes no more changes. Start it again and repeat.";
    BAD_REQUEST = "LG0714", "the request is not what the node's API expects", "The body, a path segment or a header does not have the documented form. Command and node may be of different releases: compare `lockgate --version` with `lockgate node status`.";
    NOT_FOUND = "LG0715", "the node has no such object", "Nothing with this name is known to the node. Names are `project/stack/name`.";
    NOT_ALLOWED = "LG0716", "the caller may not use the node", "On the socket, only the user who runs the node and root may; over TCP, the bearer key of the node is needed.";
    PLATFORM_FAILED = "LG0717", "the platform could not do it", "The place where services run refused an operation; the causes say why.";
    NODE_BUG = "LG0718", "the node met a bug", "The node caught a panic while it made the change. Please report it with the lines of the node log that carry the request id.";
    CONSOLE_LOCKED = "LG0719", "the console is locked", "The console opens with a one-time link that `lockgate console` prints on the node's machine, or with the node's bearer key where its admin API listens on TCP. A link opens once and within a minute; a session ends after 24 hours, 8 hours without a request, or with the node.";
    CONSOLE_FAILED = "LG0720", "the console cannot be served", "The node could not open a loopback port for the console; the causes say why.";
    NODE_RUNS = "LG0730", "a node runs already", "One node serves a home folder. Set LOCKGATE_HOME for a second one.";
    NODE_START = "LG0731", "the node did not start", "The causes are the last lines of its log. `lockgate serve` runs it in the foreground.";
    NO_NODE = "LG0732", "no node runs", "The command talks to the background node and found none. `lockgate node start` starts it; `up` does so by itself when a program needs it.";
    NODE_REFUSED = "LG0733", "the node refused", "The node said no, and nothing changed. The message and hints are the node's.";
}
