//! Requests as the SDKs send them, and what they must become.

use std::path::Path;

use lockgate_engine::source::{Alias, AliasParent, Registration};

use super::{Caller, RequestError};
use crate::generated::alias::spec::Parent;
use crate::generated::{
    self as rpc, RegisterResourceRequest, SourcePosition, alias,
    register_resource_request as nested,
};
use crate::place::SourceFiles;

/// What a request of a program becomes.
fn registration(
    request: RegisterResourceRequest,
    nodejs: bool,
) -> Result<Registration, RequestError> {
    let sources = &SourceFiles::new(Path::new("/work/shop"));
    super::registration(request, &Caller { nodejs, sources })
}

fn request() -> RegisterResourceRequest {
    RegisterResourceRequest {
        r#type: "random:index/randomPet:RandomPet".to_owned(),
        name: "pet".to_owned(),
        custom: true,
        ..RegisterResourceRequest::default()
    }
}

fn parent_of(spec_parent: Option<Parent>, nodejs: bool, alias_specs: bool) -> AliasParent {
    let spec = alias::Spec {
        name: "old".to_owned(),
        parent: spec_parent,
        ..alias::Spec::default()
    };
    let request = RegisterResourceRequest {
        aliases: vec![rpc::Alias {
            alias: Some(alias::Alias::Spec(spec)),
        }],
        alias_specs,
        ..request()
    };
    let registration = registration(request, nodejs).expect("a valid request");
    match registration.options.aliases.as_slice() {
        [Alias::Parts { parent, .. }] => parent.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn alias_parents_mean_what_their_sdk_means() {
    let none = || Some(Parent::NoParent(true));
    let empty = || Some(Parent::ParentUrn(String::new()));
    for (parent, nodejs, specs, expected) in [
        (None, false, false, AliasParent::Same),
        (None, true, true, AliasParent::Same),
        (None, true, false, AliasParent::None),
        (empty(), false, true, AliasParent::Same),
        (empty(), true, false, AliasParent::None),
        (none(), false, false, AliasParent::None),
        (none(), true, true, AliasParent::None),
        (none(), true, false, AliasParent::Same),
    ] {
        let seen = parent_of(parent.clone(), nodejs, specs);
        assert_eq!(seen, expected, "{parent:?} nodejs {nodejs} specs {specs}");
    }
}

#[test]
fn delete_before_replace_counts_when_it_is_defined_or_true() {
    for (defined, value, expected) in [
        (false, false, None),
        (true, false, Some(false)),
        (false, true, Some(true)),
        (true, true, Some(true)),
    ] {
        let request = RegisterResourceRequest {
            delete_before_replace_defined: defined,
            delete_before_replace: value,
            ..request()
        };
        let options = registration(request, false).expect("valid").options;
        assert_eq!(options.delete_before_replace, expected);
    }
}

#[test]
fn positions_inside_the_project_are_kept_and_others_are_not() {
    let at = |uri: &str| {
        let request = RegisterResourceRequest {
            source_position: Some(SourcePosition {
                uri: uri.to_owned(),
                line: 7,
                column: 2,
            }),
            ..request()
        };
        let options = registration(request, false).expect("valid").options;
        options.source_position
    };
    assert_eq!(
        at("file:///work/shop/src/main.py").as_deref(),
        Some("project:///src/main.py#7,2")
    );
    assert_eq!(at("file:///usr/lib/x.py"), None);
}

#[test]
fn what_is_malformed_or_unsupported_is_named() {
    let bad_parent = RegisterResourceRequest {
        parent: "nonsense".to_owned(),
        ..request()
    };
    let bad_timeout = RegisterResourceRequest {
        custom_timeouts: Some(nested::CustomTimeouts {
            create: "5".to_owned(),
            ..nested::CustomTimeouts::default()
        }),
        ..request()
    };
    let remote = RegisterResourceRequest {
        remote: true,
        ..request()
    };
    let error = |request| registration(request, false).expect_err("refused");
    assert!(matches!(error(bad_parent), RequestError::Urn(_, text) if text == "nonsense"));
    assert!(matches!(error(bad_timeout), RequestError::Timeout(_, text) if text == "5"));
    assert!(matches!(error(remote), RequestError::Unsupported(..)));
}
