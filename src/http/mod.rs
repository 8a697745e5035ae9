//! HTTP/1.1 on httparse: heads, bodies, chunks, answers.
