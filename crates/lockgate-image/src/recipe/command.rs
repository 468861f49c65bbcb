//! Command lines, health checks, ports: the small grammars of configuration instructions.

use crate::oci::Healthcheck;

/// Most ports that one `EXPOSE a-b` may mean.
const PORTS_MAX: u32 = 65_535;

/// Shortest time of a health check, in nanoseconds; engines refuse less.
const DURATION_NS_MIN: i64 = 1_000_000;
/// Signals by name, without `SIG` (signal(7)); those of real time have numbers behind.
const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS",
    "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU",
    "XFSZ",
];
/// How far a real-time signal may be from the first or the last.
const REAL_TIME_MAX: u8 = 15;

/// Whether this names a signal: a number, or a name with or without `SIG`.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return number != 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let near = |first: &str, most| {
        let distance = name.strip_prefix(first)?.parse::<u8>().ok()?;
        Some((1..=most).contains(&distance))
    };
    SIGNALS.contains(&name)
        || near("RTMIN+", REAL_TIME_MAX) == Some(true)
        || near("RTMAX-", REAL_TIME_MAX - 1) == Some(true)
}

/// Keys `port/protocol` of an EXPOSE argument; a range gives several.
pub(super) fn parse_ports(text: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("protocol `{protocol}` is none of tcp, udp, sctp"));
    }
    let number = |text: &str| text.parse::<u32>().ok().filter(|p| *p <= PORTS_MAX);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first..=last)
            .map(|port| format!("{port}/{protocol}"))
            .collect()),
        _ => Err(format!("`{range}` is no port or range of ports")),
    }
}

/// A Go duration (`1m30s`, `500ms`) in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 6e10),
        ("h", 3.6e12),
    ];
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, factor) = UNITS.iter().find(|(unit, _)| {
            // `m` must not take the start of `ms`.
            rest.strip_prefix(unit)
                .is_some_and(|after| !after.starts_with(|c: char| c.is_alphabetic()))
        })?;
        total += value * factor;
        rest = &rest[unit.len()..];
    }
    // 292 years in nanoseconds are the largest duration there is.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (!text.is_empty() && total.is_finite() && total < 9.2e18).then_some(total as i64)
}

/// Applies one HEALTHCHECK flag; the error says what is wrong with it.
pub(super) fn health_flag(health: &mut Healthcheck, name: &str, value: &str) -> Result<(), String> {
    if name == "retries" {
        health.retries = value
            .parse()
            .ok()
            .filter(|n| *n >= 0)
            .ok_or_else(|| format!("`{value}` is no number of retries"))?;
        return Ok(());
    }
    let slot = match name {
        "interval" => &mut health.interval,
        "timeout" => &mut health.timeout,
        "start-period" => &mut health.start_period,
        "start-interval" => &mut health.start_interval,
        other => return Err(format!("`HEALTHCHECK` has no flag `--{other}`")),
    };
    *slot = parse_duration(value)
        .ok_or_else(|| format!("`{value}` is no duration, for example `30s`"))?;
    if *slot > 0 && *slot < DURATION_NS_MIN {
        return Err(format!("`{value}` is shorter than `1ms`"));
    }
    Ok(())
}
