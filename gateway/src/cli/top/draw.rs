//! A frame: header, one section or all of them, footer.

use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Row, Table};
use ratatui::{Frame, Terminal};

use super::sheets::{Cell, Column, Moments, Tone, duration, error_tone, grouped, percent, short};
use super::state::{Mode, Section, State};

/// From this size on all sections are shown at once.
const WIDE: (u16, u16) = (110, 32);
/// Between two columns.
const GAP: u16 = 2;
const HEADER_LINES: u16 = 3;

const HELP: &str = "\
q, Esc, Ctrl-C   leave
Tab, 1 to 6      another section
s                order by the next column, at last by none
r                reverse that order
/                show only rows that contain a text; Esc shows all
p, space         hold what is shown, and go on
arrows, j, k     scroll; also page keys, Home and End
?, h             this help

Rates and quantiles are over one interval; a quantile is
the upper bound of its bucket. Scores are the balancer's:
of two endpoints the one with the lower is chosen.";

/// Draws what there is.
pub(super) fn frame(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let [header, body, footer] = Layout::vertical([
        Constraint::Length(HEADER_LINES),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head(state)), header);
    if let Some(moments) = state.moments() {
        if area.width >= WIDE.0 && area.height >= WIDE.1 {
            overview(state, &moments, frame, body);
        } else {
            let [tabs, body] =
                Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(body);
            frame.render_widget(tab_line(state), tabs);
            section(state, &moments, state.section, frame, body);
        }
    }
    frame.render_widget(foot(state), footer);
    if state.mode == Mode::Help {
        help(frame, area);
    }
}

/// A frame of all sections as text, as many lines as it needs.
pub(super) fn text(state: &State, width: u16, lines_max: u16) -> String {
    let mut all = lines_of(width, HEADER_LINES, |frame| {
        frame.render_widget(Paragraph::new(head(state)), frame.area());
    });
    let Some(moments) = state.moments() else {
        return all;
    };
    for shown in Section::ALL {
        let rows = state.sheet(shown, &moments).rows.len();
        let rows = u16::try_from(rows).unwrap_or(lines_max).min(lines_max);
        all.push('\n');
        // Title and names of the columns stand above.
        all.push_str(&lines_of(width, rows + 2, |frame| {
            let area = frame.area();
            section(state, &moments, shown, frame, area);
        }));
    }
    all
}

fn lines_of(width: u16, height: u16, draw: impl FnOnce(&mut Frame<'_>)) -> String {
    let backend = TestBackend::new(width, height);
    let mut terminal = Terminal::new(backend).expect("memory is a terminal that always works");
    let drawn = terminal.draw(draw);
    drawn.expect("memory is a terminal that always works");
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for cells in buffer.content().chunks(usize::from(width)) {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn style(state: &State, tone: Tone) -> Style {
    let plain = Style::default();
    match tone {
        Tone::Plain => plain,
        // Without colours what is bad must still be seen.
        Tone::Bad if !state.has_colour => plain.add_modifier(Modifier::BOLD),
        _ if !state.has_colour => plain,
        Tone::Good => plain.fg(Color::Green),
        Tone::Odd => plain.fg(Color::Yellow),
        Tone::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

fn head(state: &State) -> Text<'static> {
    let bold = Style::default().add_modifier(Modifier::BOLD);
    let tone = |text: String, tone| Span::styled(text, style(state, tone));
    let Some(moments) = state.moments() else {
        let waits = match &state.lost {
            Some(why) => tone(lost(state, why), Tone::Bad),
            None => Span::raw(format!("asking {}", state.url)),
        };
        return Text::from(Line::from(waits));
    };
    let now = moments.now;
    let status = &now.status;
    let mut first = vec![Span::styled(format!("gateway {}  ", status.version), bold)];
    first.push(match &state.lost {
        Some(why) => tone(lost(state, why), Tone::Bad),
        None if status.is_ready => tone("ready".into(), Tone::Good),
        None => {
            let waits = status.waiting_for.join(", ");
            tone(format!("not ready: waits for {waits}"), Tone::Bad)
        }
    });
    if state.is_paused {
        first.push(tone("  held".into(), Tone::Odd));
    }
    let place = format!("  {}  {} workers", state.url, status.workers);
    first.push(Span::raw(place));
    let total = moments.total();
    let or_none = |it: Option<f64>, words: fn(f64) -> String| it.map_or("–".into(), words);
    let second = vec![
        Span::raw(format!("{} req/s  ", or_none(total.rate, short))),
        tone(
            format!("{} 5xx  ", or_none(total.errors, percent)),
            total.errors.map_or(Tone::Plain, error_tone),
        ),
        Span::raw(format!(
            "p50 {}  p99 {}  {} in flight  {} connections  {} refused",
            or_none(total.p50, duration),
            or_none(total.p99, duration),
            grouped(status.requests_in_flight),
            grouped(status.connections),
            grouped(status.connections_refused),
        )),
    ];
    Text::from(vec![
        Line::from(first),
        Line::from(second),
        Line::from(configuration(state, &moments)),
    ])
}

fn lost(state: &State, why: &str) -> String {
    let every = humantime::format_duration(state.interval);
    format!("no answer, asking every {every}: {why}")
}

fn configuration(state: &State, moments: &Moments<'_>) -> Vec<Span<'static>> {
    let config = &moments.now.config;
    let reloads = &config.reloads;
    let mut line = vec![Span::raw(format!(
        "{}  generation {}  {}  reloads: {} applied, {} refused",
        config.file, reloads.generation, reloads.hash, reloads.applied, reloads.refused
    ))];
    if let Some(refused) = &reloads.refused_last {
        let problem = refused.problems.first().map_or(String::new(), |it| {
            let line = it
                .line
                .map_or(String::new(), |line| format!("line {line}: "));
            format!(": {line}{}", it.message)
        });
        let words = format!("  the last file is refused{problem}");
        line.push(Span::styled(words, style(state, Tone::Bad)));
    } else if !reloads.needs_restart.is_empty() {
        let words = format!("  needs a restart for {}", reloads.needs_restart.join(", "));
        line.push(Span::styled(words, style(state, Tone::Odd)));
    }
    line
}

/// All sections: routes and upstreams above, endpoints, then limits and keys beside refusals.
fn overview(state: &State, moments: &Moments<'_>, frame: &mut Frame<'_>, area: Rect) {
    let rows = |shown| {
        let rows = state.sheet(shown, moments).rows.len();
        u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(3)
    };
    let parts = Layout::vertical([
        Constraint::Max(rows(Section::Routes).min(area.height / 3)),
        Constraint::Max(rows(Section::Upstreams).min(area.height / 4)),
        Constraint::Max(rows(Section::Endpoints).min(area.height / 4)),
        Constraint::Min(6),
    ]);
    let [routes, upstreams, endpoints, last] = parts.areas(area);
    let halves = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]);
    let [left, refusals] = halves.spacing(GAP).areas(last);
    let of_left = [
        Constraint::Max(rows(Section::Limits)),
        Constraint::Min(rows(Section::Keys).min(left.height / 2)),
    ];
    let [limits, keys] = Layout::vertical(of_left).areas(left);
    let places = [routes, upstreams, endpoints, limits, refusals, keys];
    for (shown, area) in Section::ALL.into_iter().zip(places) {
        section(state, moments, shown, frame, area);
    }
}

fn tab_line(state: &State) -> Line<'static> {
    let titles = Section::ALL.into_iter().enumerate();
    let titles = titles.map(|(index, section)| {
        let text = format!(" {} {} ", index + 1, section.title());
        if section == state.section {
            Span::styled(text, Style::default().add_modifier(Modifier::REVERSED))
        } else {
            Span::raw(text)
        }
    });
    Line::from(titles.collect::<Vec<_>>())
}

fn section(
    state: &State,
    moments: &Moments<'_>,
    shown: Section,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let sheet = state.sheet(shown, moments);
    let order = state.order(shown);
    let mut title = Style::default().add_modifier(Modifier::BOLD);
    if shown == state.section && state.mode != Mode::Typing {
        title = title.add_modifier(Modifier::UNDERLINED);
    }
    let first_row = order.first_row.min(sheet.rows.len().saturating_sub(1));
    let (columns, widths) = fitting(sheet.columns, &sheet.rows, area.width);
    let names = columns.iter().map(|&column| {
        let mark = match order.column {
            Some(by) if by == column && order.is_upwards => "↑",
            Some(by) if by == column => "↓",
            _ => "",
        };
        aligned(
            format!("{}{mark}", sheet.columns[column].name),
            &sheet.columns[column],
            Style::default(),
        )
    });
    let names = Row::new(names).style(Style::default().add_modifier(Modifier::DIM));
    let rows = sheet.rows.iter().skip(first_row).map(|row| {
        Row::new(columns.iter().map(|&column| {
            let Cell { text, tone, .. } = &row[column];
            aligned(text.clone(), &sheet.columns[column], style(state, *tone))
        }))
    });
    let widths = widths.into_iter().map(Constraint::Length);
    let count = match sheet.rows.len() {
        0 => " (none)".to_owned(),
        _ if first_row > 0 => format!(" (from {} of {})", first_row + 1, sheet.rows.len()),
        _ => String::new(),
    };
    let block = Block::new().title(Line::styled(format!("{}{count} ", shown.title()), title));
    let table = Table::new(rows, widths)
        .header(names)
        .column_spacing(GAP)
        .block(
            block
                .borders(Borders::TOP)
                .border_style(Style::default().add_modifier(Modifier::DIM)),
        );
    frame.render_widget(table, area);
}

fn aligned(text: String, column: &Column, style: Style) -> Line<'static> {
    let line = Line::styled(text, style);
    if column.is_number {
        line.right_aligned()
    } else {
        line
    }
}

/// The columns that there is room for, and their widths. The first is cut where even those that
/// stay are too wide.
fn fitting(columns: &[Column], rows: &[Vec<Cell>], width: u16) -> (Vec<usize>, Vec<u16>) {
    let needed = |index: usize| {
        let cells = rows.iter().map(|row| row[index].text.chars().count());
        let name = columns[index].name.chars().count() + 1;
        u16::try_from(cells.chain([name]).max().unwrap_or(0)).unwrap_or(u16::MAX)
    };
    let all: Vec<(usize, u16)> = (0..columns.len()).map(|it| (it, needed(it))).collect();
    let mut rank = columns.iter().map(|it| it.rank).max().unwrap_or(0);
    loop {
        let kept = all.iter().filter(|(index, _)| columns[*index].rank <= rank);
        let (kept, mut widths): (Vec<usize>, Vec<u16>) = kept.copied().unzip();
        let gaps = GAP * u16::try_from(kept.len().saturating_sub(1)).unwrap_or(0);
        let total = widths.iter().fold(gaps, |sum, it| sum.saturating_add(*it));
        if total <= width || rank == 0 {
            cut(&mut widths, total.saturating_sub(width));
            return (kept, widths);
        }
        rank -= 1;
    }
}

/// Takes this much from the widest columns.
fn cut(widths: &mut [u16], mut excess: u16) {
    while excess > 0 {
        let Some(widest) = widths.iter_mut().max() else {
            return;
        };
        if *widest <= 1 {
            return;
        }
        *widest -= 1;
        excess -= 1;
    }
}

fn foot(state: &State) -> Line<'static> {
    if state.mode == Mode::Typing {
        return Line::from(format!(
            "filter: {}_  Enter keeps it, Esc clears it",
            state.filter
        ));
    }
    let keys = "q quit  Tab section  s sort  / filter  p hold  ? help";
    if state.filter.is_empty() {
        return Line::from(keys);
    }
    Line::from(format!("only rows with `{}`  {keys}", state.filter))
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let lines = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX);
    let columns = HELP.lines().map(|line| line.chars().count()).max();
    let columns = u16::try_from(columns.unwrap_or(0)).unwrap_or(u16::MAX);
    let place = area.centered(
        Constraint::Length(columns.saturating_add(4)),
        Constraint::Length(lines.saturating_add(2)),
    );
    frame.render_widget(Clear, place);
    let block = Block::bordered().title("Keys");
    frame.render_widget(Paragraph::new(HELP).block(block), place);
}
