//! A resource's handle, kept beyond the frame that it came in.

use crate::auth::list::List;
use crate::auth::rule::Scope;
use crate::link::address::Address;
use crate::wire::resource::Handle;

/// Bytes of the texts of a handle that is taken.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Addresses of a handle that is taken.
const ADDRESSES_MAX: usize = 16;

/// The same as [`Handle`], with texts of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedHandle {
    /// Where the instance is dialled; the first that answers counts. Empty where it dials itself.
    pub addresses: Vec<String>,
    /// Consumers at a time at most; 0 for no bound.
    pub capacity: u64,
    /// Its share among its kind.
    pub weight: u32,
    /// Whether consumers may send to it.
    pub takes_messages: bool,
    /// Whether its instances number a subject alike.
    pub replicas: bool,
    /// Whether every channel to it is a private one.
    pub conversations: bool,
    /// Who may read it; empty for everybody.
    pub access: Vec<String>,
    /// `KEY=VALUE`, for operators.
    pub labels: Vec<String>,
}

impl OwnedHandle {
    /// Takes a handle if others can use it.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    ///
    /// ```
    /// use ahm::link::handle::OwnedHandle;
    /// use ahm::wire::resource::Handle;
    /// let handle = |address| Handle { addresses: vec![address], weight: 1, ..Handle::default() };
    /// assert_eq!(OwnedHandle::check(&handle("127.0.0.1:9000")).unwrap().weight, 1);
    /// let error = OwnedHandle::check(&handle("0.0.0.0:9000")).unwrap_err();
    /// assert_eq!(error, "0.0.0.0:9000 cannot be dialled: name an address of the machine");
    /// ```
    pub fn check(handle: &Handle<'_>) -> Result<Self, String> {
        if handle.addresses.len() > ADDRESSES_MAX {
            return Err(format!("a handle has at most {ADDRESSES_MAX} addresses"));
        }
        for text in &handle.addresses {
            match text.parse::<Address>().map_err(|error| error.to_string())?.socket() {
                Some(address) if address.ip().is_unspecified() => {
                    return Err(format!(
                        "{text} cannot be dialled: name an address of the machine"
                    ));
                }
                Some(address) if address.port() == 0 => {
                    return Err(format!("{text} cannot be dialled: there is no port 0"));
                }
                _ => {}
            }
        }
        let texts = [&handle.addresses, &handle.access, &handle.labels];
        if texts.into_iter().flatten().map(|text| text.len()).sum::<usize>() > TEXT_BYTES_MAX {
            return Err(format!("the texts of a handle have at most {TEXT_BYTES_MAX} bytes"));
        }
        let rules = handle.access.iter().copied();
        if let Err(error) = List::parse(rules, Scope::Resource) {
            return Err(format!("the access list: {error}"));
        }
        Ok(Self::from(handle))
    }

    /// The same for a frame.
    pub fn lend(&self) -> Handle<'_> {
        Handle {
            addresses: borrow(&self.addresses),
            capacity: self.capacity,
            weight: self.weight,
            takes_messages: self.takes_messages,
            replicas: self.replicas,
            conversations: self.conversations,
            access: borrow(&self.access),
            labels: borrow(&self.labels),
        }
    }
}

impl From<&Handle<'_>> for OwnedHandle {
    fn from(handle: &Handle<'_>) -> Self {
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        Self {
            addresses: texts(&handle.addresses),
            capacity: handle.capacity,
            weight: handle.weight,
            takes_messages: handle.takes_messages,
            replicas: handle.replicas,
            conversations: handle.conversations,
            access: texts(&handle.access),
            labels: texts(&handle.labels),
        }
    }
}

fn borrow(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_with_a_rule_that_is_none_is_refused() {
        let handle = |access| Handle { weight: 1, access, ..Handle::default() };
        assert!(OwnedHandle::check(&handle(vec!["allow EUR* user:anna", "deny *"])).is_ok());
        let error = OwnedHandle::check(&handle(vec!["allow *", "alow EUR*"])).unwrap_err();
        let wanted = "the access list: rule 2, column 1: a rule begins with allow, deny or more, \
            not with \"alow\"";
        assert_eq!(error, wanted);
    }
}
