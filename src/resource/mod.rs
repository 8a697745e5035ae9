//! Publisher side: the resources that ship with the server, and the publisher client.
