//! What is shown, and what a key changes of that.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::sheets::{Cell, Moments, Sheet};
use super::snapshot::Snapshot;

/// Characters that a filter may have.
const FILTER_MAX: usize = 40;
/// Rows that a page key goes.
const PAGE_ROWS: usize = 10;

/// A table that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Routes,
    Upstreams,
    Endpoints,
    Limits,
    Refusals,
    Keys,
}

impl Section {
    pub(super) const ALL: [Self; 6] = [
        Self::Routes,
        Self::Upstreams,
        Self::Endpoints,
        Self::Limits,
        Self::Refusals,
        Self::Keys,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Routes => "Routes",
            Self::Upstreams => "Upstreams",
            Self::Endpoints => "Endpoints",
            Self::Limits => "Limits",
            Self::Refusals => "Refusals",
            Self::Keys => "Keys",
        }
    }

    fn sheet(self, moments: &Moments<'_>) -> Sheet {
        match self {
            Self::Routes => moments.routes(),
            Self::Upstreams => moments.upstreams(),
            Self::Endpoints => moments.endpoints(),
            Self::Limits => moments.limits(),
            Self::Refusals => moments.refusals(),
            Self::Keys => moments.keys(),
        }
    }
}

/// How a section's rows are ordered, and from which on they are shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// None: as the gateway says them, which is the order of the file.
    pub(super) column: Option<usize>,
    pub(super) is_upwards: bool,
    pub(super) first_row: usize,
}

/// What a key asks for beyond the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stay,
    Leave,
}

/// What keys mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Looking,
    /// Letters go to the filter.
    Typing,
    /// The help lies over what is shown.
    Help,
}

/// Everything that a frame is made of.
pub(super) struct State {
    pub(super) url: String,
    pub(super) interval: Duration,
    pub(super) has_colour: bool,
    pub(super) section: Section,
    pub(super) orders: [Order; Section::ALL.len()],
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) is_paused: bool,
    /// Why the last question had no answer; what is shown is what was told before.
    pub(super) lost: Option<String>,
    before: Option<Snapshot>,
    now: Option<Snapshot>,
}

impl State {
    pub(super) fn new(url: &str, interval: Duration, has_colour: bool) -> Self {
        Self {
            url: url.into(),
            interval,
            has_colour,
            section: Section::Routes,
            orders: Default::default(),
            filter: String::new(),
            mode: Mode::Looking,
            is_paused: false,
            lost: None,
            before: None,
            now: None,
        }
    }

    /// Takes a new answer, unless what is shown is to stay.
    pub(super) fn told(&mut self, snapshot: Snapshot) {
        let was_lost = self.lost.take().is_some();
        if !self.is_paused {
            let before = self.now.replace(snapshot);
            // After a gap counting begins anew: the gateway may be another process.
            self.before = before.filter(|_| !was_lost);
        }
    }

    /// Takes that there was none; what was told before is shown on.
    pub(super) fn lost(&mut self, why: String) {
        self.lost = Some(why);
    }

    /// The two moments that are shown, once there is one.
    pub(super) fn moments(&self) -> Option<Moments<'_>> {
        Some(Moments {
            before: self.before.as_ref(),
            now: self.now.as_ref()?,
        })
    }

    pub(super) fn order(&self, section: Section) -> Order {
        self.orders[section as usize]
    }

    /// A section's table: filtered, and in order.
    pub(super) fn sheet(&self, section: Section, moments: &Moments<'_>) -> Sheet {
        let mut sheet = section.sheet(moments);
        if !self.filter.is_empty() {
            let wanted = self.filter.to_lowercase();
            let has = |cell: &Cell| cell.text.to_lowercase().contains(&wanted);
            sheet.rows.retain(|row| row.iter().any(has));
        }
        let order = self.order(section);
        if let Some(column) = order.column {
            // Stable: rows that are alike stay as they were.
            sheet.rows.sort_by(|a, b| {
                let ordering = a[column].compare(&b[column]);
                if order.is_upwards {
                    ordering
                } else {
                    ordering.reverse()
                }
            });
        }
        sheet
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Outcome {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Outcome::Leave;
        }
        if self.mode == Mode::Typing {
            self.type_filter(key.code);
            return Outcome::Stay;
        }
        match key.code {
            KeyCode::Esc | KeyCode::Char('?' | 'h') if self.mode == Mode::Help => {
                self.mode = Mode::Looking;
            }
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Esc | KeyCode::Char('q') => return Outcome::Leave,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('/') => self.mode = Mode::Typing,
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Section::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='6') => {
                self.section = Section::ALL[digit as usize - '1' as usize];
            }
            code => self.arrange(code),
        }
        Outcome::Stay
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.mode = Mode::Looking,
            KeyCode::Esc => {
                self.mode = Mode::Looking;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) if self.filter.chars().count() < FILTER_MAX => {
                self.filter.push(letter);
            }
            _ => return,
        }
        self.orders.iter_mut().for_each(|it| it.first_row = 0);
    }

    fn turn(&mut self, by: usize) {
        let next = (self.section as usize + by) % Section::ALL.len();
        self.section = Section::ALL[next];
    }

    /// Order and place within the section.
    fn arrange(&mut self, code: KeyCode) {
        let rows = self.rows();
        let columns = self.columns();
        let order = &mut self.orders[self.section as usize];
        let last = rows.saturating_sub(1);
        match code {
            KeyCode::Char('s') => {
                let next = order.column.map_or(0, |column| column + 1);
                order.column = (next < columns).then_some(next);
            }
            KeyCode::Char('r') => order.is_upwards = !order.is_upwards,
            KeyCode::Down | KeyCode::Char('j') => order.first_row = (order.first_row + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => {
                order.first_row = order.first_row.saturating_sub(1);
            }
            KeyCode::PageDown => order.first_row = (order.first_row + PAGE_ROWS).min(last),
            KeyCode::PageUp => order.first_row = order.first_row.saturating_sub(PAGE_ROWS),
            KeyCode::Home => order.first_row = 0,
            KeyCode::End => order.first_row = last,
            _ => {}
        }
    }

    fn rows(&self) -> usize {
        let moments = self.moments();
        moments.map_or(0, |it| self.sheet(self.section, &it).rows.len())
    }

    fn columns(&self) -> usize {
        let moments = self.moments();
        moments.map_or(0, |it| self.section.sheet(&it).columns.len())
    }
}
