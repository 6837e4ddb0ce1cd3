//! The terminal: taken, and given back as it was, whichever way this program ends.

use std::io::{self, Stdout, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use crossterm::cursor::Show;
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::ask::Asker;
use super::draw;
use super::snapshot::Snapshot;
use super::state::{Outcome, State};

/// Keys that are pressed faster than frames are drawn.
const KEYS_WAITING_MAX: usize = 64;
/// How long the thread that reads keys may take to see that it is to end.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Shows frames until a key or a signal says that it is enough.
pub(super) async fn show(mut state: State, asker: Asker, interval: Duration) -> anyhow::Result<()> {
    let mut ends = Ends::watch()?;
    let mut screen = Screen::take().context(
        "the terminal cannot be taken; in scripts use `--once`, which prints one frame as text",
    )?;
    let mut keys = Keys::read();
    let (told, mut answers) = mpsc::channel(1);
    let asking = tokio::spawn(ask_on(asker, interval, told));
    let done = loop {
        if let Err(error) = screen.0.draw(|frame| draw::frame(&state, frame)) {
            break Err(error.into());
        }
        tokio::select! {
            key = keys.next.recv() => match key {
                Some(Some(key)) if state.press(key) == Outcome::Leave => break Ok(()),
                // A key, or another size of the terminal: draw anew.
                Some(_) => {}
                None => break Err(anyhow::anyhow!("the terminal is gone")),
            },
            answer = answers.recv() => match answer {
                Some(Ok(snapshot)) => state.told(*snapshot),
                Some(Err(why)) => state.lost(why),
                None => break Err(anyhow::anyhow!("nobody asks any more")),
            },
            () = ends.any() => break Ok(()),
        }
    };
    asking.abort();
    done
}

type Answer = Result<Box<Snapshot>, String>;

/// Asks again and again, also after there was no answer.
async fn ask_on(asker: Asker, interval: Duration, told: mpsc::Sender<Answer>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = asker.ask().await.map(Box::new);
        let answer = answer.map_err(|error| format!("{error:#}"));
        if told.send(answer).await.is_err() {
            return;
        }
    }
}

/// The signals that end a program. Ctrl-C is a key here, and a signal if it comes from elsewhere.
struct Ends([tokio::signal::unix::Signal; 3]);

impl Ends {
    fn watch() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn any(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The thread that reads keys; it ends with this value.
struct Keys {
    /// A key, or nothing for another size.
    next: mpsc::Receiver<Option<KeyEvent>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    fn read() -> Self {
        let (pressed, next) = mpsc::channel(KEYS_WAITING_MAX);
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let read = event::poll(KEY_WAIT).and_then(|has_one| {
                    let read = has_one.then(event::read);
                    read.transpose()
                });
                let event = match read {
                    Ok(Some(Event::Key(key))) if key.kind != KeyEventKind::Release => Some(key),
                    Ok(Some(Event::Resize(..))) => None,
                    Ok(_) => continue,
                    // No terminal any more: whoever waits sees that this end is closed.
                    Err(_) => return,
                };
                if pressed.blocking_send(event).is_err() {
                    return;
                }
            }
        });
        Self {
            next,
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.next.close();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere, and there would be nobody left to tell.
            let _ended = thread.join();
        }
    }
}

/// The terminal, in its other screen and without line editing.
struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    fn take() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Else its words would go to the other screen, and vanish with it.
            give_back();
            before(panic);
        }));
        enable_raw_mode()?;
        let taken = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        taken.map(Self).inspect_err(|_| give_back())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // Each may fail where the terminal is gone, and then there is nothing to give back.
    let _line_editing = disable_raw_mode();
    let _screen = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _shown = io::stdout().flush();
}
