//! What is embedded is what the list of origins says.

use super::*;

#[test]
fn vendored_files_are_the_listed_ones() {
    let list = include_str!("../../../assets/README.md");
    for (name, text) in [
        ("htmx.min.js", include_str!("../../../assets/htmx.min.js")),
        (
            "uPlot.iife.min.js",
            include_str!("../../../assets/uPlot.iife.min.js"),
        ),
        (
            "uPlot.min.css",
            include_str!("../../../assets/uPlot.min.css"),
        ),
    ] {
        let line = list
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}`")));
        let sum = hex::encode(Sha256::digest(text));
        assert!(
            line.is_some_and(|line| line.contains(&sum)),
            "{name} is {sum}"
        );
    }
}

#[test]
fn the_first_page_stays_small_and_calls_nobody() {
    let ours = [STYLE, SCRIPT, ICON].map(|index| &ASSETS[index]);
    for asset in ours {
        // The name of SVG's vocabulary is no address.
        let text = asset.text.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("://"), "{} names a host", asset.name);
    }
    let bytes: usize = ASSETS.iter().map(|asset| asset.text.len()).sum();
    assert!(bytes < 120 * 1024, "{bytes} bytes");
}
