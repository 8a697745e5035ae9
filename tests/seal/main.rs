//! The session seal against the test vectors in the manual, which an independent implementation
//! recomputes too.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod attack;

use std::path::Path;
use std::process::Command;

use ahm::base::id::Mid;
use ahm::seal::key::{Algorithm, Keys, Secret};
use ahm::seal::line::{Opener, Sealer};
use ahm::seal::mac::{self, Command as Covered};
use serde_json::Value;

const MANUAL: &str = include_str!("../../src/manual/sealing.md");

fn vectors() -> Vec<Value> {
    let (_, rest) = MANUAL.split_once("```json\n").unwrap();
    let (json, _) = rest.split_once("```").unwrap();
    serde_json::from_str(json).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

fn keys(vector: &Value) -> Keys {
    let algorithm = Algorithm::from_word(text(vector, "algorithm")).unwrap();
    let secret = Secret::parse(text(vector, "secret")).unwrap();
    Keys::new(algorithm, secret, Mid::parse(text(vector, "mid")).unwrap())
}

#[test]
fn our_documents_are_those_of_the_vectors() {
    for vector in vectors() {
        let document = &vector["document"];
        let (d, q) = (number(document, "d") as u32, number(document, "q"));
        let identity = text(document, "identity").as_bytes();
        let mut sealer = Sealer::new(keys(&vector).document(d, q, identity));
        let mut opener = Opener::new(keys(&vector).document(d, q, identity));
        for line in document["lines"].as_array().unwrap() {
            let (plain, sealed) = (text(line, "text"), text(line, "sealed"));
            let mut out = Vec::new();
            let lines = format!("{plain}\n");
            assert!(sealer.seal_lines(lines.as_bytes(), &mut Vec::new(), &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), format!("{sealed}\n"));
            assert_eq!(opener.open(sealed.as_bytes()), Ok(plain.as_bytes()));
        }
    }
}

#[test]
fn our_commands_and_answers_are_those_of_the_vectors() {
    for vector in vectors() {
        let keys = keys(&vector);
        let payload = &vector["payload"];
        let mut body = text(payload, "text").as_bytes().to_vec();
        keys.payload().seal(number(payload, "q"), &mut body);
        assert_eq!(body, unhex(text(payload, "sealed")));
        for command in vector["commands"].as_array().unwrap() {
            let (method, body) = (text(command, "method"), unhex(text(command, "body")));
            let proved = keys.command().prove(method, text(command, "target"), &body);
            assert_eq!(proved, text(command, "proved"));
            let (target, code) = mac::divide(&proved).unwrap();
            let covered = Covered { method, target, body: &body };
            assert!(keys.command().proves(&covered, code).is_some());
        }
        for answer in vector["answers"].as_array().unwrap() {
            let (q, line) = (number(answer, "q"), number(answer, "line") as usize);
            let mut json = text(answer, "json").to_string();
            keys.answer().sign_answer(q, line, &mut json);
            assert_eq!(json, text(answer, "signed"));
            assert!(keys.answer().is_answer(q, line, json.as_bytes()));
        }
    }
}

#[test]
fn an_independent_implementation_agrees() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked = Command::new("node")
        .arg(root.join("tests/seal/check.mjs"))
        .arg(root.join("src/manual/sealing.md"))
        .output()
        .expect("node is there: scripts/test installs it");
    let said = String::from_utf8_lossy(&checked.stdout);
    let wrong = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{wrong}");
    assert_eq!(said.trim(), "14 vectors agree");
}
