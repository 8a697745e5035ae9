//! The files of `src/web` as the server gives them out.

use crate::proto::directory::Page;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The browser client: what the command `client.js` answers.
pub const CLIENT: Page =
    Page { path: "client.js", content_type: SCRIPT, bytes: include_bytes!("../web/ahm.js") };

/// The page of the demonstration.
pub const DEMO: [Page; 4] = [
    Page { path: "/", content_type: HTML, bytes: include_bytes!("../web/index.html") },
    Page { path: "/demo.css", content_type: CSS, bytes: include_bytes!("../web/demo.css") },
    Page { path: "/deal.js", content_type: SCRIPT, bytes: include_bytes!("../web/deal.js") },
    Page { path: "/demo.js", content_type: SCRIPT, bytes: include_bytes!("../web/demo.js") },
];
