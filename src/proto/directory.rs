//! What all shards know alike: resources by name, and built-in pages.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::name::{self, NameError};
use crate::proto::resource::Resource;

/// A page that the server itself gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its path, beginning with a slash.
    pub path: &'static str,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// Resources and pages; the same on every shard, unchanged while the server runs.
#[derive(Debug, Default)]
pub struct Directory {
    resources: HashMap<String, Arc<dyn Resource>>,
    pages: Vec<Page>,
}

impl Directory {
    /// Adds a resource, or replaces the one of that name.
    pub fn add(&mut self, name: &str, resource: Arc<dyn Resource>) -> Result<(), NameError> {
        name::check_resource(name)?;
        self.resources.insert(name.to_string(), resource);
        Ok(())
    }

    /// Adds a page.
    pub fn add_page(&mut self, page: Page) {
        self.pages.push(page);
    }

    /// The resource of that name.
    pub fn resource(&self, name: &str) -> Option<&Arc<dyn Resource>> {
        self.resources.get(name)
    }

    /// The page at that path.
    pub fn page(&self, path: &str) -> Option<&Page> {
        self.pages.iter().find(|page| page.path == path)
    }
}
