//! What a key of the configuration is: name, meaning, type, range, and the place of its value.

use std::path::PathBuf;

use crate::auth::certificate::Naming;
use crate::base::time::Span;
use crate::link::address::{Address, AddressError};
use crate::server::config::{Level, Listen, LogFormat, ResourceKind, Token};
use crate::server::config_listen::parse_private;
use crate::server::config_value::{Value, show_size, show_span};
use crate::server::relay::AccessLog;

/// The word for no address at all.
const OFF: &str = "off";

/// A key of the configuration whose value lives in a `T`.
#[derive(Debug)]
pub struct Key<T: 'static> {
    /// Its full name, as in `protocol.heartbeat`.
    pub path: &'static str,
    /// What it decides.
    pub meaning: &'static str,
    /// Its type, range and place.
    pub place: Place<T>,
}

/// Whether a text may be a value; says why not.
pub type Check = fn(&str) -> Result<(), String>;

/// Whether texts may be a value together; says why not.
pub type CheckAll = fn(&[&str]) -> Result<(), String>;

/// The type, range and place of a key's value.
#[derive(Debug)]
pub enum Place<T: 'static> {
    /// `true` or `false`.
    Flag(fn(&mut T) -> &mut bool),
    /// A length of time, from, to.
    Span(fn(&mut T) -> &mut Span, Span, Span),
    /// Bytes, from, to.
    Size(fn(&mut T) -> &mut usize, usize, usize),
    /// Bytes, from, to.
    SmallSize(fn(&mut T) -> &mut u32, u32, u32),
    /// A whole number, from, to.
    Count(fn(&mut T) -> &mut usize, usize, usize),
    /// A whole number, from, to.
    SmallCount(fn(&mut T) -> &mut u32, u32, u32),
    /// Private listeners, and files of sockets.
    Places(fn(&mut T) -> (&mut Vec<Listen>, &mut Vec<PathBuf>)),
    /// Addresses with ports, and what each listener lays down.
    Listeners(fn(&mut T) -> &mut Vec<Listen>),
    /// Addresses of the resource protocol, or none.
    Doors(fn(&mut T) -> &mut Vec<Address>),
    /// A text.
    Text(fn(&mut T) -> &mut String, Check),
    /// A list of texts.
    Texts(fn(&mut T) -> &mut Vec<String>, Check),
    /// The rules of an access list.
    Rules(fn(&mut T) -> &mut Vec<String>, CheckAll),
    /// A secret; empty for none.
    Token(fn(&mut T) -> &mut Option<Token>),
    /// The importance of messages.
    Level(fn(&mut T) -> &mut Level),
    /// The form of messages.
    Format(fn(&mut T) -> &mut LogFormat),
    /// The form of the access log.
    Access(fn(&mut T) -> &mut AccessLog),
    /// What of a certificate names its user.
    Naming(fn(&mut T) -> &mut Naming),
    /// What a resource does.
    Kind(fn(&mut T) -> &mut ResourceKind),
}

impl<T> Key<T> {
    /// The last part of its name.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The table that it stands in; empty for the top of the file.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The variable of the environment that sets it.
    pub fn variable(&self) -> String {
        format!("AHM_{}", self.path.replace('.', "_").to_uppercase())
    }

    /// Reads `value` into its place in `into`.
    ///
    /// # Errors
    /// Says what is wrong with the value; the place then keeps what it had.
    pub fn set(&self, into: &mut T, value: &Value) -> Result<(), String> {
        match self.place {
            Place::Flag(of) => *of(into) = value.flag()?,
            Place::Span(of, min, max) => *of(into) = value.span(min, max)?,
            Place::Size(of, min, max) => *of(into) = value.size(min as u64, max as u64)? as usize,
            Place::SmallSize(of, min, max) => {
                *of(into) = value.size(u64::from(min), u64::from(max))? as u32;
            }
            Place::Count(of, min, max) => {
                *of(into) = value.count(min as u64, max as u64)? as usize;
            }
            Place::SmallCount(of, min, max) => {
                *of(into) = value.count(u64::from(min), u64::from(max))? as u32;
            }
            Place::Places(of) => {
                let (addresses, sockets) = places(value)?;
                let into = of(into);
                (*into.0, *into.1) = (addresses, sockets);
            }
            Place::Listeners(of) => *of(into) = each(value, str::parse)?,
            Place::Doors(of) => *of(into) = doors(value)?,
            Place::Text(of, check) => {
                let text = value.text()?;
                check(text)?;
                *of(into) = text.into();
            }
            Place::Texts(of, check) => {
                let texts = value.texts()?;
                texts.iter().try_for_each(|text| check(text))?;
                *of(into) = texts.into_iter().map(Into::into).collect();
            }
            Place::Rules(of, check) => {
                let rules = value.lines()?;
                check(&rules)?;
                *of(into) = rules.into_iter().map(Into::into).collect();
            }
            Place::Token(of) => *of(into) = token(value)?,
            Place::Level(of) => *of(into) = word(value, &Level::ALL, Level::word)?,
            Place::Format(of) => *of(into) = word(value, &LogFormat::ALL, LogFormat::word)?,
            Place::Access(of) => *of(into) = word(value, &AccessLog::ALL, AccessLog::word)?,
            Place::Naming(of) => *of(into) = word(value, &Naming::ALL, Naming::word)?,
            Place::Kind(of) => *of(into) = word(value, &ResourceKind::ALL, ResourceKind::word)?,
        }
        Ok(())
    }

    /// Its value in `from` as the file would have it. A secret is shown as none.
    pub fn show(&self, from: &mut T) -> String {
        match self.place {
            Place::Flag(of) => of(from).to_string(),
            Place::Span(of, ..) => quoted(&show_span(*of(from))),
            Place::Size(of, ..) => quoted(&show_size(*of(from) as u64)),
            Place::SmallSize(of, ..) => quoted(&show_size(u64::from(*of(from)))),
            Place::Count(of, ..) => of(from).to_string(),
            Place::SmallCount(of, ..) => of(from).to_string(),
            Place::Places(of) => {
                let (addresses, sockets) = of(from);
                let sockets = sockets.iter().map(|path| format!("unix:{}", path.display()));
                list(addresses.iter().map(ToString::to_string).chain(sockets))
            }
            Place::Listeners(of) => list(of(from).iter().map(ToString::to_string)),
            Place::Doors(of) => show_doors(of(from)),
            Place::Text(of, _) => quoted(of(from)),
            Place::Texts(of, _) | Place::Rules(of, _) => list(of(from).iter().cloned()),
            Place::Token(_) => quoted(""),
            Place::Level(of) => quoted(of(from).word()),
            Place::Format(of) => quoted(of(from).word()),
            Place::Access(of) => quoted(of(from).word()),
            Place::Naming(of) => quoted(of(from).word()),
            Place::Kind(of) => quoted(of(from).word()),
        }
    }

    /// Its range in words; empty where the meaning says enough.
    pub fn range(&self) -> String {
        match self.place {
            Place::Span(_, min, max) => format!("{} to {}", show_span(min), show_span(max)),
            Place::Size(_, min, max) => {
                format!("{} to {}", show_size(min as u64), show_size(max as u64))
            }
            Place::SmallSize(_, min, max) => {
                format!("{} to {}", show_size(u64::from(min)), show_size(u64::from(max)))
            }
            Place::Count(_, min, max) => format!("{min} to {max}"),
            Place::SmallCount(_, min, max) => format!("{min} to {max}"),
            Place::Level(_) => Level::ALL.map(Level::word).join(", "),
            Place::Format(_) => LogFormat::ALL.map(LogFormat::word).join(", "),
            Place::Access(_) => AccessLog::ALL.map(AccessLog::word).join(", "),
            Place::Naming(_) => Naming::ALL.map(Naming::word).join(", "),
            Place::Kind(_) => ResourceKind::ALL.map(ResourceKind::word).join(", "),
            _ => String::new(),
        }
    }
}

fn each<T>(value: &Value, parse: impl FnMut(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    value.texts()?.into_iter().map(parse).collect()
}

fn places(value: &Value) -> Result<(Vec<Listen>, Vec<PathBuf>), String> {
    let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
    for text in value.texts()? {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.starts_with('/') {
            sockets.push(path.into());
        } else {
            addresses.push(parse_private(text)?);
        }
    }
    Ok((addresses, sockets))
}

fn doors(value: &Value) -> Result<Vec<Address>, String> {
    match value.text() {
        Ok(OFF) => Ok(Vec::new()),
        _ => each(value, |text| text.parse().map_err(|error: AddressError| error.to_string())),
    }
}

fn show_doors(all: &[Address]) -> String {
    match all {
        [] => quoted(OFF),
        all => list(all.iter().map(ToString::to_string)),
    }
}

fn token(value: &Value) -> Result<Option<Token>, String> {
    let text = value.text().map_err(|_| "a token is text in quotes".to_owned())?;
    if text.is_empty() { Ok(None) } else { Token::new(text).map(Some) }
}

fn word<W: Copy>(value: &Value, all: &[W], name: fn(W) -> &'static str) -> Result<W, String> {
    let text = value.text()?;
    all.iter().copied().find(|word| name(*word) == text).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|word| name(*word)).collect();
        format!("{text:?} is none of {}", known.join(", "))
    })
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quoted(&item)).collect::<Vec<_>>().join(", "))
}
