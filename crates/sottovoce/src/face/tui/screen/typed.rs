//! What keys and what is typed do.

use client::{Command, ErrorCode, Failure};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    super::{
        composer::{Composer, Edit},
        conversation::Conversation,
        keys::{self, Action, Scope},
        pages::Help,
        verify::{Verdict, Verify},
    },
    Effect, Link, MAX_WAITING, Moment, Pending, Reader, SETTLE, Screen, View,
};

impl Screen {
    pub(super) fn key(&mut self, key: &KeyEvent, now: Moment, out: &mut Vec<Effect>) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        self.is_dirty = true;
        match keys::action(&self.scopes(), key, self.is_typing()) {
            Some(Action::Accept | Action::Refuse) if self.is_unsettled(key, now) => {}
            Some(Action::Enter | Action::Edit(_)) if self.is_adrift(now) => {}
            Some(action) => self.act(action, now, out),
            None => {
                let modifiers = key.modifiers.difference(KeyModifiers::SHIFT);
                if let KeyCode::Char(c) = key.code
                    && modifiers.is_empty()
                {
                    self.insert(c.encode_utf8(&mut [0; 4]), now);
                }
            }
        }
    }

    pub(super) fn pasted(&mut self, text: &str, now: Moment) {
        self.is_dirty = true;
        self.insert(text, now);
    }

    /// The tables that say what a key does now, the first before the others.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let mut scopes = Vec::new();
        if self.question.is_some() {
            scopes.push(Scope::Question);
        }
        if self.help.is_some() {
            scopes.extend([Scope::Help, Scope::Everywhere]);
            return scopes;
        }
        scopes.push(if self.is_signing_in {
            Scope::SignIn
        } else if self.changed.is_some() {
            Scope::Changed
        } else if self.verify.is_some() {
            Scope::Verify
        } else {
            match self.view {
                View::People => Scope::People,
                View::Chat => Scope::Chat,
            }
        });
        scopes.extend([Scope::Everywhere, Scope::Typing]);
        scopes
    }

    /// Whether a letter belongs to what is being typed.
    pub(super) fn is_typing(&mut self) -> bool {
        // A password may begin with any character.
        self.is_signing_in || self.composer().is_some_and(|composer| !composer.is_empty())
    }

    /// Whether a key answers a question that has only just come up, and so was meant for something else: a letter for
    /// what is being typed, any key for the question in whose place it came.
    fn is_unsettled(&self, key: &KeyEvent, now: Moment) -> bool {
        let Some(question) = &self.question else { return true };
        (key.modifiers.is_empty() || question.is_sudden)
            && now.instant.saturating_duration_since(question.since) < SETTLE
    }

    /// What is typed into now.
    fn composer(&mut self) -> Option<&mut Composer> {
        if self.help.is_some() {
            None
        } else if self.is_signing_in {
            (!self.form.is_trying()).then(|| self.form.field())
        } else if self.changed.is_some() {
            Some(&mut self.people.search)
        } else if let Some(verify) = &mut self.verify {
            Some(&mut verify.pasted)
        } else {
            match (self.view, &mut self.conversation) {
                (View::Chat, Some(conversation)) => Some(&mut conversation.composer),
                _ => Some(&mut self.people.search),
            }
        }
    }

    /// Whether what is typed goes on from before the view changed: until there is a pause.
    fn is_adrift(&mut self, now: Moment) -> bool {
        self.adrift = self.adrift.filter(|since| now.instant.saturating_duration_since(*since) < SETTLE);
        if let Some(since) = &mut self.adrift {
            *since = now.instant;
        }
        self.adrift.is_some()
    }

    fn insert(&mut self, text: &str, now: Moment) {
        if self.is_adrift(now) {
            return;
        }
        self.has_typed_ahead |= self.is_signing_in && self.form.is_trying();
        let Some(composer) = self.composer() else { return };
        if let Err(too_long) = composer.insert(text) {
            return self.notify(too_long.to_string(), true, now);
        }
        if self.shows_people() {
            self.people.typed();
            self.is_half_typed = true;
        }
    }

    fn act(&mut self, action: Action, now: Moment, out: &mut Vec<Effect>) {
        match action {
            Action::Help => self.help = Some(Help::new()),
            Action::Leave => self.leave(now, out),
            Action::Suspend => out.push(Effect::Suspend),
            Action::Repaint => out.push(Effect::Repaint),
            Action::ToggleBell => {
                self.settings.bell = !self.settings.bell;
                self.notify(if self.settings.bell { "the bell is on" } else { "the bell is off" }, false, now);
            }
            Action::ToggleNotices => {
                self.settings.notices = !self.settings.notices;
                let is_on = self.settings.notices;
                let what = if is_on { "desktop notifications are on" } else { "desktop notifications are off" };
                self.notify(what, false, now);
            }
            Action::OtherView => self.other_view(),
            Action::Enter => self.enter(now, out),
            Action::Back => self.back(now, out),
            Action::NextField => self.form.go(true),
            Action::PreviousField => self.form.go(false),
            Action::Accept => self.tell(Command::Yes(None), now),
            Action::Refuse => self.tell(Command::No, now),
            Action::Up => self.go(-1),
            Action::Down => self.go(1),
            Action::PageUp => self.page(-1),
            Action::PageDown => self.page(1),
            Action::Top => self.in_transcript(|transcript| transcript.top()),
            Action::Bottom => self.in_transcript(|transcript| transcript.bottom()),
            Action::Verify => {
                if self.conversation.is_some() {
                    self.verify = Some(Verify::new());
                }
            }
            Action::MarkVerified => self.mark_verified(now),
            Action::Invert => {
                if let Some(verify) = &mut self.verify {
                    verify.is_inverted = !verify.is_inverted;
                }
            }
            Action::EndChat if self.conversation.as_ref().is_some_and(Conversation::is_open) => {
                self.run(Command::Leave, now, out);
            }
            Action::EndChat => self.look_at(View::People),
            Action::Edit(edit) => self.edit(edit),
        }
    }

    fn in_transcript(&mut self, go: impl FnOnce(&mut super::super::transcript::Transcript)) {
        if let Some(conversation) = &mut self.conversation {
            go(&mut conversation.transcript);
        }
    }

    fn edit(&mut self, edit: Edit) {
        if self.shows_people() {
            self.people.edit(edit);
        } else {
            let Some(composer) = self.composer() else { return };
            let is_edited = composer.edit(edit);
            // The first row's Up, and the last one's Down, look at what was said.
            match edit {
                Edit::Up if !is_edited && self.verify.is_none() => self.go(-1),
                Edit::Down if !is_edited && self.verify.is_none() => self.go(1),
                _ => {}
            }
        }
    }

    fn go(&mut self, by: isize) {
        if let Some(help) = &mut self.help {
            help.scroll(by);
        } else if self.shows_people() {
            self.people.go(by);
        } else {
            self.in_transcript(|transcript| {
                transcript.scroll(by);
            });
        }
    }

    fn page(&mut self, direction: isize) {
        let rows = if let Some(help) = &self.help {
            help.page()
        } else if self.shows_people() {
            self.people.rows()
        } else {
            self.conversation.as_ref().map_or(0, |conversation| conversation.transcript.page())
        };
        self.go(rows.saturating_mul(direction));
    }

    fn other_view(&mut self) {
        self.verify = None;
        self.look_at(match self.view {
            View::People if self.conversation.is_some() => View::Chat,
            _ => View::People,
        });
    }

    fn look_at(&mut self, view: View) {
        self.view = view;
        if let Some(conversation) = &mut self.conversation {
            conversation.unread = 0;
        }
    }

    fn back(&mut self, now: Moment, out: &mut Vec<Effect>) {
        self.notice = None;
        if self.help.take().is_some() {
            return;
        }
        if self.is_signing_in {
            if self.form.is_trying() {
                self.form.given_up();
                out.push(Effect::GiveUp);
            }
        } else if self.changed.take().is_some() {
            self.people.search.clear();
            self.people.typed();
            self.view = View::People;
        } else if self.verify.take().is_some() {
        } else if self.view == View::Chat {
            let Some(conversation) = &mut self.conversation else { return };
            if conversation.transcript.newer().is_some() {
                conversation.transcript.bottom();
            } else if !conversation.is_open() {
                self.look_at(View::People);
            }
        } else if self.calling.is_some() && !self.is_setting_up {
            self.tell(Command::No, now);
        } else if !self.people.search.is_empty() {
            self.people.search.clear();
            self.people.typed();
        }
    }

    fn enter(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.is_signing_in {
            if !self.form.is_trying()
                && let Some(entry) = self.form.enter(now.instant)
            {
                out.push(Effect::SignIn(entry));
            }
        } else if let Some(verify) = &self.verify {
            let number = self.conversation.as_ref().map_or("", |conversation| &conversation.safety_number);
            if verify.verdict(number) == Verdict::Same {
                self.mark_verified(now);
            }
        } else if self.view == View::Chat && self.changed.is_none() {
            self.send(now, out);
        } else if self.people.is_command() || self.changed.is_some() {
            let line = self.people.search.text().trim().to_owned();
            match Command::parse(&line) {
                // What is no command is a name to look for.
                Ok(Command::Say(_)) => self.notify(format!("{line} is no command; /help lists them"), true, now),
                Err(failure) if !line.is_empty() => self.notify(failure.message, true, now),
                Err(_) => {}
                Ok(command) => {
                    self.is_half_typed = false;
                    self.people.search.clear();
                    self.people.typed();
                    self.run(command, now, out);
                }
            }
        } else if let Some(name) = self.people.chosen() {
            self.is_half_typed = false;
            match Command::talk(&name) {
                Ok(command) => self.tell(command, now),
                Err(failure) => self.notify(failure.message, true, now),
            }
        }
    }

    /// Enter, in a chat.
    fn send(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let Some(conversation) = &mut self.conversation else { return };
        let typed = conversation.composer.text();
        if typed.trim().is_empty() {
            return;
        }
        #[cfg(debug_assertions)]
        {
            // For tests of what is left of the terminal then; release builds do not have it.
            assert!(typed != "/panic", "told to panic");
        }
        // What is copied often ends with a line end that nobody means.
        let typed = typed.trim_end_matches('\n');
        // Many lines are a message, whatever they begin with: they were pasted, or meant.
        let command = if typed.contains('\n') { Command::say(typed.to_owned()) } else { Command::parse(typed) };
        match command {
            Ok(Command::Say(_)) if !conversation.is_open() => {
                self.notify("that was not sent: this chat is over; Esc goes to people", true, now);
            }
            Ok(Command::Say(_)) if conversation.leaving.is_some() => {
                self.notify("that was not sent: you are leaving the chat", true, now);
            }
            Ok(Command::Say(_)) if self.waiting.len() >= MAX_WAITING => {
                self.notify("that was not sent: too much waits already; press Enter again soon", true, now);
            }
            Ok(command) => {
                conversation.composer.clear();
                self.notice = None;
                self.run(command, now, out);
            }
            Err(failure) => self.refuse(&failure, now),
        }
    }

    fn refuse(&mut self, failure: &Failure, now: Moment) {
        let hint = if failure.code == ErrorCode::TooLong { "; send it in parts" } else { "" };
        self.notify(format!("{}{hint}", failure.message), true, now);
    }

    /// Does what was typed or chosen.
    fn run(&mut self, command: Command, now: Moment, out: &mut Vec<Effect>) {
        match command {
            Command::Help => self.help = Some(Help::new()),
            Command::Exit => self.leave(now, out),
            Command::List(page) if self.view == View::People => {
                // The list is there; what was asked for becomes the search.
                self.people.search.set(page.prefix.as_str());
                self.people.typed();
            }
            command => self.tell(command, now),
        }
    }

    /// Lines up something for the client.
    fn tell(&mut self, mut command: Command, now: Moment) {
        // What one says must not keep one from anything else.
        if self.waiting.len() >= MAX_WAITING.saturating_mul(2) {
            return self.notify("too much waits already; try again soon", true, now);
        }
        match &command {
            Command::Yes(None)
                if self.question.as_ref().is_some_and(|question| {
                    question.is_sudden && now.instant.saturating_duration_since(question.since) < SETTLE
                }) =>
            {
                return self.notify("somebody else asks now; look again", true, now);
            }
            Command::List(_) if self.link != Link::Up => {
                return self.notify("not connected; wait until you are connected again", true, now);
            }
            Command::List(_) => self.lists.push_back(Reader::Person),
            // The question is answered, and not asked again.
            Command::Yes(whose) => {
                let is_meant =
                    |question: &mut Pending| whose.as_ref().is_none_or(|whose| whose.as_str() == question.peer);
                if let Some(question) = self.question.take_if(is_meant) {
                    // Whoever is on the screen is meant, and nobody who has taken that place meanwhile.
                    command = Command::Yes(question.peer.parse().ok());
                    self.calling = Some(Pending { since: now.instant, ..question });
                    self.is_setting_up = true;
                }
            }
            Command::No => {
                if let Some(question) = self.question.take() {
                    self.notify(format!("you refused to talk with {}", question.peer), false, now);
                }
            }
            // Whoever is on the screen is meant here, too.
            Command::Verify(None) => {
                let number = self.conversation.as_ref().map(|conversation| conversation.safety_number.clone());
                command = Command::Verify(number);
            }
            // To the client it would mean to come back.
            Command::Leave if self.leaving.is_some() => {
                return self.notify("you are leaving already; Ctrl-Q again: at once", false, now);
            }
            Command::Leave => self.mark_leaving("F4"),
            Command::Say(text) => {
                if let Some(conversation) = &mut self.conversation {
                    conversation.transcript.say(text.as_str(), now.clock);
                }
            }
            _ => {}
        }
        self.waiting.push_back(command);
    }

    fn mark_verified(&mut self, now: Moment) {
        let (Some(verify), Some(conversation)) = (&self.verify, &self.conversation) else { return };
        let number = conversation.safety_number.clone();
        let verdict = verify.verdict(&number);
        match verdict {
            Verdict::Different(_) | Verdict::SoFar(_) => {
                self.notify(
                    "not noted: what is pasted is not the same; empty the field to go by your own eyes",
                    true,
                    now,
                );
            }
            Verdict::Nothing | Verdict::Same => self.tell(Command::Verify(Some(number)), now),
        }
    }

    /// Leaves: what was said is delivered first, unless it is wanted a second time.
    fn leave(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.is_signing_in {
            return out.push(Effect::Quit(None));
        }
        if self.leaving.is_some() {
            return out.push(Effect::Stop);
        }
        self.leaving = Some(now.instant);
        self.waiting.push_back(Command::Exit);
        self.mark_leaving("Ctrl-Q");
        self.notify("leaving when all is delivered, in 5 s at the latest; Ctrl-Q again: at once", false, now);
    }

    /// The chat, if one is open, is being left; `key` does so at once.
    fn mark_leaving(&mut self, key: &'static str) {
        if let Some(conversation) = self.conversation.as_mut().filter(|conversation| conversation.is_open()) {
            conversation.leaving = Some(key);
        }
    }
}
