//! A program of this machine says who a client is.

use std::time::Instant;

use ahm::base::time::Span;

use crate::support::{Place, curl, json, server};

#[test]
fn a_program_sees_its_environment_and_its_word_counts() {
    let place = Place::new();
    let check = place.program(
        "check",
        "[ \"$AHM_USER:$AHM_PASSWORD\" = 'anna:s3cret $(id)' ] ||\n\
         { echo 'refuse=who+is+that'; exit 1; }\n\
         [ \"$AHM_ADDRESS $AHM_TRANSPORT\" = '127.0.0.1 plain' ] || exit 2\n\
         [ -z \"$HOME\" ] && [ \"$PWD\" = / ] && [ $# = 0 ] && ! read line || exit 3\n\
         echo user=anna; echo groups=a; echo groups=b; echo noise >&2",
    );
    let server = server(|config| config.auth.programs = vec![format!("check={check}")]);
    let login = |arguments: &[&str]| curl(&server, "/ahm/login?auth=check", arguments);
    let (status, text) = login(&["-u", "anna:s3cret $(id)"]);
    assert_eq!((status, &json(&text)["user"]), (200, &"anna".into()), "{text}");
    let (status, text) = login(&["-u", "anna:other"]);
    assert_eq!((status, &json(&text)["detail"]), (403, &"who is that".into()), "{text}");
}

#[test]
fn a_program_that_does_not_end_is_killed_with_all_it_has_started() {
    let place = Place::new();
    let started = place.path("started");
    let slow = place.program(
        "slow",
        &format!("sleep 1000 &\necho $$ $! > {started}.new; mv {started}.new {started}\nwait"),
    );
    let endless = place.program("endless", "exec cat /dev/zero");
    let closed = place.program("closed", "exec >&-; sleep 1000");
    let server = server(|config| {
        config.auth.programs = ["slow", "endless", "closed", "none"]
            .map(|name| match name {
                "slow" => format!("slow={slow}"),
                "endless" => format!("endless={endless}"),
                "closed" => format!("closed={closed}"),
                _ => "none=/no/such/program".into(),
            })
            .into();
        config.auth.timeout = Span::from_millis(700);
    });
    for name in ["slow", "endless", "closed", "none"] {
        let began = Instant::now();
        let (status, text) = curl(&server, &format!("/ahm/login?auth={name}"), &[]);
        assert_eq!(status, 503, "{name}: {text}");
        assert!(began.elapsed().as_secs() < 10, "{name}");
    }
    // Neither the shell nor what it has started runs any more; one may be a zombie of ours no
    // longer, for it was waited for.
    let ids = std::fs::read_to_string(started).unwrap();
    for id in ids.split_whitespace() {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let ended = state.is_empty() || state.contains(") Z ") || state.contains(") X ");
        assert!(ended, "{id} runs on: {state}");
    }
}
