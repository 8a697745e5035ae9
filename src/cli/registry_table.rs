//! How `ahm registry list` prints what is registered.

use std::fmt::Write as _;

use serde_json::json;

use crate::base::id::Epoch;
use crate::base::time::Span;
use crate::cli::registry_list::Listed;
use crate::link::address::Address;
use crate::wire::resource::InstanceId;

/// A column: its head, and whether its cells stand at the right.
type Column = (&'static str, bool);

const COLUMNS: [Column; 10] = [
    ("REGISTRY", false),
    ("RESOURCE", false),
    ("INSTANCE", false),
    ("NAME", false),
    ("ADDRESSES", false),
    ("WEIGHT", true),
    ("CAPACITY", true),
    ("CONSUMERS", true),
    ("HEARD AGO", true),
    ("REGISTERED", true),
];

/// The table; `several`: with the registry in each line.
pub fn table(rows: &[(&Address, Listed)], several: bool) -> String {
    let first = usize::from(!several);
    let columns = &COLUMNS[first..];
    let cells: Vec<_> = rows.iter().map(|(registry, listed)| row(registry, listed)).collect();
    let width = |at: usize| {
        let longest = cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        longest.max(COLUMNS[at].0.len())
    };
    let widths: Vec<_> = (first..COLUMNS.len()).map(width).collect();
    let mut out = String::new();
    put_line(&mut out, columns, &widths, columns.iter().map(|(head, _)| *head));
    for row in &cells {
        put_line(&mut out, columns, &widths, row[first..].iter().map(String::as_str));
    }
    out
}

fn put_line<'c>(
    out: &mut String,
    columns: &[Column],
    widths: &[usize],
    cells: impl Iterator<Item = &'c str>,
) {
    let mut line = String::new();
    for (cell, ((_, right), width)) in cells.zip(columns.iter().zip(widths.iter().copied())) {
        let _ = match right {
            true => write!(line, "{cell:>width$}  "),
            false => write!(line, "{cell:<width$}  "),
        };
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

fn row(registry: &Address, listed: &Listed) -> [String; 10] {
    let Listed { resource, instance, name, handle, consumers, heard, since } = listed;
    let capacity = match handle.capacity {
        0 => "any".into(),
        bound => bound.to_string(),
    };
    let addresses = match handle.addresses.as_slice() {
        [] => "it dials".into(),
        all => all.join(" "),
    };
    [
        registry.to_string(),
        plain(resource),
        number(*instance),
        plain(name),
        plain(&addresses),
        handle.weight.to_string(),
        capacity,
        consumers.to_string(),
        short(*heard),
        short(*since),
    ]
}

/// One line of JSON.
pub fn json_line(registry: &Address, listed: &Listed) -> String {
    let handle = &listed.handle;
    let object = json!({
        "registry": registry.to_string(),
        "resource": listed.resource,
        "instance": number(listed.instance),
        "name": listed.name,
        "addresses": handle.addresses,
        "weight": handle.weight,
        "capacity": handle.capacity,
        "consumers": listed.consumers,
        "takes_messages": handle.takes_messages,
        "replicas": handle.replicas,
        "conversations": handle.conversations,
        "access": handle.access,
        "labels": handle.labels,
        "heard_ms": listed.heard.as_millis(),
        "registered_ms": listed.since.as_millis(),
    });
    format!("{object}\n")
}

/// The number of an instance, in as few signs as an epoch's.
fn number(instance: InstanceId) -> String {
    Epoch(instance.0).to_string()
}

/// What must not move the cursor of a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// A span as a person reads it: one unit, or two where the smaller one still matters.
fn short(span: Span) -> String {
    let (millis, seconds) = (span.as_millis(), span.as_secs());
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{}d{:02}h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::handle::OwnedHandle;

    fn listed(resource: &str, addresses: &[&str]) -> Listed {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        Listed {
            resource: resource.into(),
            instance: InstanceId(71),
            name: "rates\u{7}-1".into(),
            handle: OwnedHandle { addresses, weight: 100, ..OwnedHandle::default() },
            consumers: 12,
            heard: Span::from_millis(412),
            since: Span::from_secs(2 * 3600 + 61),
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let registry: Address = "127.0.0.1:8082".parse().unwrap();
        let mut bounded = listed("fx", &["127.0.0.1:9000", "unix:/run/fx"]);
        bounded.handle.capacity = 500;
        let rows = [(&registry, bounded), (&registry, listed("a-long-name", &[]))];
        let wanted = concat!(
            "RESOURCE     INSTANCE  NAME      ADDRESSES                    ",
            "WEIGHT  CAPACITY  CONSUMERS  HEARD AGO  REGISTERED\n",
            "fx           1z        rates?-1  127.0.0.1:9000 unix:/run/fx     ",
            "100       500         12      412ms       2h01m\n",
            "a-long-name  1z        rates?-1  it dials                        ",
            "100       any         12      412ms       2h01m\n",
        );
        assert_eq!(table(&rows, false), wanted);
        let wide = table(&rows, true);
        assert!(wide.lines().skip(1).all(|line| line.starts_with("127.0.0.1:8082  ")), "{wide}");
    }

    #[test]
    fn spans_are_short() {
        for (seconds, wanted) in [
            (0, "0ms"),
            (59, "59s"),
            (60, "1m00s"),
            (3_599, "59m59s"),
            (3_600, "1h00m"),
            (86_400 * 400 + 3_600, "400d01h"),
        ] {
            assert_eq!(short(Span::from_secs(seconds)), wanted);
        }
    }

    #[test]
    fn a_line_of_json_has_everything() {
        let registry: Address = "unix:/run/r".parse().unwrap();
        let line = json_line(&registry, &listed("fx", &["127.0.0.1:9000"]));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["registry"], "unix:/run/r");
        assert_eq!(value["instance"], "1z");
        assert_eq!(value["addresses"][0], "127.0.0.1:9000");
        assert_eq!((&value["heard_ms"], &value["registered_ms"]), (&json!(412), &json!(7_261_000)));
    }
}
