//! Walks a TOML file: every key with its value and the line it stands on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::server::config_keys::{RESOURCE_KEYS, keys};
use crate::server::config_problem::{Origin, Problem};
use crate::server::config_value::Value;

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Keys by their full names, known or not.
    pub keys: Vec<(String, Value, Origin)>,
    /// The resources, if it speaks of any.
    pub resources: Option<Vec<GivenResource>>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// A resource as it was given, before the defaults of its kind are known.
#[derive(Clone, Debug)]
pub struct GivenResource {
    /// Where it begins.
    pub origin: Origin,
    /// Its keys.
    pub keys: Vec<(String, Value, Origin)>,
}

impl Given {
    fn problem(&mut self, origin: Origin, what: impl Into<String>) {
        self.problems.push(Problem { origin, what: what.into() });
    }
}

/// Reads the file `name` with the contents `text`.
pub fn read(name: &str, text: &str) -> Given {
    let file = File { name, text };
    let mut given = Given::default();
    match DeTable::parse(text) {
        Ok(table) => file.table("", table.get_ref(), &mut given),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            given.problem(file.origin(at), error.message());
        }
    }
    given
}

struct File<'f> {
    name: &'f str,
    text: &'f str,
}

impl File<'_> {
    fn origin(&self, at: usize) -> Origin {
        Origin::line(self.name, self.text, at)
    }

    fn table(&self, section: &str, table: &DeTable<'_>, given: &mut Given) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let path = join(section, key.get_ref());
            let origin = self.origin(key.span().start);
            let is_section = keys().any(|known| is_inside(known.path, &path));
            match value.get_ref() {
                DeValue::Array(items) if path == "resource" => {
                    let resources = items.iter().map(|item| self.resource(item, given)).collect();
                    given.resources = Some(resources);
                }
                DeValue::Table(inner) if is_section => self.table(&path, inner, given),
                _ if path == "resource" => {
                    given.problem(origin, "resources are written [[resource]], one table each");
                }
                _ if is_section => {
                    given.problem(origin, format!("{path} is a table: write [{path}]"));
                }
                other => given.keys.push((path, plain(other), origin)),
            }
        }
    }

    fn resource(&self, item: &Spanned<DeValue<'_>>, given: &mut Given) -> GivenResource {
        let origin = self.origin(item.span().start);
        let mut resource = GivenResource { origin: origin.clone(), keys: Vec::new() };
        if let DeValue::Table(table) = item.get_ref() {
            self.resource_table("", table, &mut resource);
        } else {
            given.problem(origin, "resources are written [[resource]], one table each");
        }
        resource
    }

    fn resource_table(&self, section: &str, table: &DeTable<'_>, given: &mut GivenResource) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let path = join(section, key.get_ref());
            let is_section = RESOURCE_KEYS.iter().any(|known| is_inside(known.path, &path));
            match value.get_ref() {
                DeValue::Table(inner) if is_section => self.resource_table(&path, inner, given),
                other => given.keys.push((path, plain(other), self.origin(key.span().start))),
            }
        }
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.into() } else { format!("{section}.{name}") }
}

fn is_inside(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number too large"), Value::Number),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| plain(item.get_ref())).collect())
        }
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}
