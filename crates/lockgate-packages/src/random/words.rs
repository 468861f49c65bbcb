//! The words of pet names: animals, plants and places, and how they are.

/// How. 70 words.
#[rustfmt::skip]
pub(super) const ADVERBS: &[&str] = &[
    "again", "ahead", "alike", "almost", "aloud", "always", "anew", "apart", "aside", "away",
    "awhile", "barely", "calmly", "clearly", "daily", "daintily", "dimly", "duly", "early",
    "evenly", "ever", "faintly", "forever", "gaily", "gently", "hardly", "inland", "kindly",
    "lately", "lightly", "meekly", "mildly", "nearly", "neatly", "nightly", "nimbly", "often",
    "onward", "openly", "outdoors", "overhead", "plainly", "quaintly", "quite", "rarely",
    "seldom", "serenely", "shyly", "sideways", "simply", "slowly", "smoothly", "softly",
    "sometimes", "soon", "steadily", "still", "suddenly", "swiftly", "tenderly", "together",
    "tonight", "truly", "upward", "usually", "vividly", "warmly", "weekly", "westward",
    "yearly",
];

/// Which. 139 words.
#[rustfmt::skip]
pub(super) const ADJECTIVES: &[&str] = &[
    "airy", "amber", "ample", "arctic", "autumn", "azure", "balmy", "blue", "bold", "breezy",
    "bright", "brisk", "bronze", "calm", "candid", "cedar", "chalky", "cheery", "civil",
    "clear", "cloudy", "coastal", "copper", "coral", "cosy", "crimson", "crisp", "curly",
    "dapper", "dappled", "dewy", "distant", "downy", "dusky", "dusty", "early", "earnest",
    "easy", "even", "fair", "feathery", "fleet", "floral", "fluffy", "foggy", "frosty",
    "gentle", "gilded", "glad", "glassy", "golden", "grassy", "green", "hazel", "hazy",
    "hearty", "hilly", "honest", "humble", "icy", "indigo", "ivory", "jade", "jolly", "keen",
    "kind", "lanky", "leafy", "level", "light", "lilac", "lively", "lucid", "lunar", "mellow",
    "merry", "mild", "milky", "misty", "mossy", "muted", "neat", "nimble", "northern", "oaken",
    "olive", "opal", "pale", "patient", "pearly", "plain", "plucky", "polar", "proud", "quiet",
    "rainy", "rapid", "ready", "rosy", "round", "ruby", "rural", "rustic", "sandy", "scarlet",
    "shady", "silent", "silken", "silver", "sleek", "snowy", "snug", "soft", "solar", "spry",
    "stable", "starry", "steady", "still", "sunny", "supple", "sure", "tall", "tawny", "teal",
    "tender", "tidal", "tidy", "tiny", "tranquil", "upland", "vivid", "warm", "wavy", "wintry",
    "witty", "woolly", "young", "zesty",
];

/// Who. 198 words.
#[rustfmt::skip]
pub(super) const NAMES: &[&str] = &[
    "acorn", "alder", "aspen", "auk", "aurora", "avocet", "badger", "bamboo", "bay", "beech",
    "birch", "bison", "bittern", "bluebell", "boulder", "bracken", "bramble", "brook",
    "bunting", "burdock", "buttercup", "canyon", "cedar", "chaffinch", "chamois", "cicada",
    "clover", "comet", "cove", "cowslip", "crane", "cricket", "crocus", "curlew", "cypress",
    "daffodil", "dahlia", "daisy", "dale", "delta", "dipper", "dolphin", "dormouse", "dune",
    "dunlin", "eider", "elder", "elm", "fern", "fieldfare", "finch", "firefly", "fjord",
    "foxglove", "gannet", "gecko", "ginkgo", "glacier", "glade", "gorse", "goshawk", "grayling",
    "grebe", "grove", "guillemot", "hamster", "harbor", "harrier", "hawthorn", "hazel",
    "heather", "hedgehog", "hemlock", "heron", "hollow", "holly", "hyacinth", "ibex", "ibis",
    "iris", "islet", "ivy", "jackdaw", "jasmine", "juniper", "kestrel", "kingfisher",
    "kittiwake", "knoll", "lagoon", "lapwing", "larch", "lark", "laurel", "lichen", "lilac",
    "linden", "linnet", "loon", "lotus", "lupin", "lynx", "magnolia", "mallow", "maple",
    "marigold", "marmot", "marten", "meadow", "meteor", "mistral", "moor", "moss", "nettle",
    "newt", "nightjar", "nuthatch", "oak", "oasis", "orchard", "orchid", "oriole", "osprey",
    "otter", "ouzel", "pansy", "partridge", "peony", "petrel", "pine", "pipit", "plover",
    "pond", "poppy", "primrose", "puffin", "quail", "quartz", "quince", "raven", "reed", "reef",
    "ridge", "robin", "rowan", "saffron", "sage", "salmon", "sandpiper", "savanna", "seal",
    "sedge", "sequoia", "shearwater", "shrike", "siskin", "skua", "snipe", "snowdrop", "sorrel",
    "sparrow", "spruce", "squirrel", "starling", "stoat", "stork", "summit", "swallow", "swift",
    "sycamore", "tarn", "tern", "thicket", "thistle", "thrush", "thyme", "toucan", "trout",
    "tulip", "tundra", "turnstone", "vale", "valley", "verbena", "vole", "wagtail", "walnut",
    "warbler", "waxwing", "weasel", "wheatear", "willow", "wisteria", "woodcock", "wren",
    "yarrow", "yew", "zinnia",
];
