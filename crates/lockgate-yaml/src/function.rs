//! The built-in functions: names, arguments and which of them read files or other stacks.

/// A built-in function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    Join,
    Select,
    Split,
    Length,
    SingleOrNone,
    ToJson,
    ToBase64,
    FromBase64,
    Sha1,
    Secret,
    Unsecret,
    ReadFile,
    FileBase64,
    FileBase64Sha256,
    StackReference,
    ResourceName,
    ResourceType,
    StringAsset,
    FileAsset,
    RemoteAsset,
    FileArchive,
    RemoteArchive,
    AssetArchive,
}

/// How the arguments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The value itself.
    One,
    /// A list of two; the words name them.
    Two(&'static str),
}

/// Names as documented, with the shape of their arguments.
pub(crate) const BUILTINS: &[(&str, Builtin, Shape)] = &[
    ("fn::join", Builtin::Join, Shape::Two("delimiter, list")),
    ("fn::select", Builtin::Select, Shape::Two("index, list")),
    ("fn::split", Builtin::Split, Shape::Two("delimiter, text")),
    ("fn::length", Builtin::Length, Shape::One),
    ("fn::singleOrNone", Builtin::SingleOrNone, Shape::One),
    ("fn::toJSON", Builtin::ToJson, Shape::One),
    ("fn::toBase64", Builtin::ToBase64, Shape::One),
    ("fn::fromBase64", Builtin::FromBase64, Shape::One),
    ("fn::sha1", Builtin::Sha1, Shape::One),
    ("fn::secret", Builtin::Secret, Shape::One),
    ("fn::unsecret", Builtin::Unsecret, Shape::One),
    ("fn::readFile", Builtin::ReadFile, Shape::One),
    ("fn::filebase64", Builtin::FileBase64, Shape::One),
    (
        "fn::filebase64sha256",
        Builtin::FileBase64Sha256,
        Shape::One,
    ),
    (
        "fn::stackReference",
        Builtin::StackReference,
        Shape::Two("stack, output"),
    ),
    ("fn::pulumiResourceName", Builtin::ResourceName, Shape::One),
    ("fn::pulumiResourceType", Builtin::ResourceType, Shape::One),
    ("fn::stringAsset", Builtin::StringAsset, Shape::One),
    ("fn::fileAsset", Builtin::FileAsset, Shape::One),
    ("fn::remoteAsset", Builtin::RemoteAsset, Shape::One),
    ("fn::fileArchive", Builtin::FileArchive, Shape::One),
    ("fn::remoteArchive", Builtin::RemoteArchive, Shape::One),
    ("fn::assetArchive", Builtin::AssetArchive, Shape::One),
];

/// The function of a name, found without regard to case.
pub(crate) fn find_builtin(name: &str) -> Option<&'static (&'static str, Builtin, Shape)> {
    BUILTINS
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(name))
}

impl Builtin {
    /// The documented name.
    pub(crate) fn name(self) -> &'static str {
        BUILTINS
            .iter()
            .find(|(_, builtin, _)| *builtin == self)
            .map_or("fn::", |(name, ..)| name)
    }

    /// Makes an asset or archive, which cannot share its map with other keys.
    pub(crate) fn is_asset(self) -> bool {
        matches!(
            self,
            Self::StringAsset
                | Self::FileAsset
                | Self::RemoteAsset
                | Self::FileArchive
                | Self::RemoteArchive
                | Self::AssetArchive
        )
    }

    /// Needs a file or another stack, so it runs before the expression around it.
    pub(crate) fn has_effect(self) -> bool {
        matches!(
            self,
            Self::ReadFile
                | Self::FileBase64
                | Self::FileBase64Sha256
                | Self::StackReference
                | Self::FileAsset
                | Self::FileArchive
        )
    }
}
