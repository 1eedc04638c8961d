use std::time::Duration;

use client::{ErrorCode, Event};
use crossterm::event::KeyCode;

use super::super::{
    super::{screen::Input, sign_in::Step, style::Theme},
    stage::{Stage, snapshot, snapshot_styles},
};

#[test]
fn empty() {
    let stage = |size| Stage::with(size, Theme::new(true), Vec::new(), "", "");
    snapshot("sign_in_empty", stage, |_| {});
}

#[test]
fn filled() {
    snapshot("sign_in_filled", Stage::sized, |stage| stage.type_in("correct horse"));
}

#[test]
fn unlocking() {
    snapshot("sign_in_unlocking", Stage::sized, |stage| {
        stage.enter("correct horse");
        stage.wait(Duration::from_millis(500));
    });
}

#[test]
fn connecting_slowly() {
    snapshot("sign_in_connecting_slowly", Stage::sized, |stage| {
        stage.enter("correct horse");
        stage.input(Input::At(Step::Connecting));
        stage.event(Event::Connecting);
        stage.wait(Duration::from_millis(12_400));
    });
}

#[test]
fn logging_in() {
    snapshot("sign_in_logging_in", Stage::sized, |stage| {
        stage.enter("correct horse");
        stage.input(Input::At(Step::Connecting));
        stage.event(Event::Connected);
    });
}

#[test]
fn blank_fields() {
    let stage = |size| Stage::with(size, Theme::new(true), Vec::new(), "", "");
    snapshot("sign_in_no_server", stage, |stage| stage.keys(&[KeyCode::Tab, KeyCode::Tab, KeyCode::Enter]));
    let stage = |size| Stage::with(size, Theme::new(true), Vec::new(), "chat.example:7478", "");
    snapshot("sign_in_no_name", stage, |stage| stage.keys(&[KeyCode::Tab, KeyCode::Enter]));
    snapshot("sign_in_no_password", Stage::sized, |stage| stage.key(KeyCode::Enter));
}

#[test]
fn refused() {
    let refused = |name, code, message| {
        snapshot(name, Stage::sized, |stage| {
            stage.enter("correct horse");
            stage.fail(code, message);
        });
    };
    refused("sign_in_wrong_password", ErrorCode::WrongPassword, "the password does not open the key file");
    refused(
        "sign_in_unknown_user",
        ErrorCode::UnknownUser,
        "the server has no user of this name with this key; ask its operator to add the line in key.pub",
    );
    refused(
        "sign_in_unreachable",
        ErrorCode::Unreachable,
        "chat.example:7478 cannot be reached (connection refused); is the server running?",
    );
    refused(
        "sign_in_untrusted",
        ErrorCode::UntrustedServer,
        "the certificate is not from the authority that your profile names; do not go on, and ask the operator",
    );
    refused(
        "sign_in_replaced",
        ErrorCode::Replaced,
        "a newer log-in of yours took over; if that was not you, ask the operator to replace your key",
    );
}

#[test]
fn once_more_with_the_key_unlocked() {
    snapshot("sign_in_unlocked", Stage::sized, |stage| {
        stage.enter("correct horse");
        stage.input(Input::At(Step::Connecting));
        stage.fail(ErrorCode::Unreachable, "chat.example:7478 cannot be reached (connection refused)");
        stage.keys(&[KeyCode::Tab, KeyCode::Tab]);
    });
}

#[test]
fn in_colours() {
    let mut stage = Stage::new();
    stage.enter("correct horse");
    stage.fail(ErrorCode::WrongPassword, "the password does not open the key file");
    snapshot_styles("sign_in_styles", stage);
}
