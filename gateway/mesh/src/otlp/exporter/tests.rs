//! The exporter over a transport that answers as told, in paused time.

use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::super::{Kind, channel};
use super::*;

/// Answers with these statuses in turn, the last one without end; 0 is no answer.
struct Scripted {
    statuses: Mutex<Vec<u16>>,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl Transport for Scripted {
    async fn post(&self, _headers: HeaderMap, body: Bytes) -> Result<Response<Bytes>, PostError> {
        let request = ExportTraceServiceRequest::decode(body)?;
        let spans = request.resource_spans[0].scope_spans[0].spans.len();
        self.batches.lock().unwrap().push(spans);
        let mut statuses = self.statuses.lock().unwrap();
        let status = match statuses.len() {
            1 => statuses[0],
            _ => statuses.remove(0),
        };
        if status == 0 {
            return Err("nobody is there".into());
        }
        let answer = Response::builder().status(status);
        Ok(answer.body(Bytes::new())?)
    }
}

fn settings() -> Settings {
    Settings {
        protocol: Protocol::HttpProtobuf,
        headers: HeaderMap::new(),
        resource: Resource::new("test", "1"),
        queue_max: 8,
        batch_max: 4,
        interval: Duration::from_secs(1),
    }
}

fn span(span_id: u64) -> Span {
    Span {
        trace_id: 1,
        span_id,
        parent_id: None,
        name: "GET /".into(),
        kind: Kind::Server,
        started_micros: 1,
        ended_micros: 2,
        attributes: Vec::new(),
        is_error: false,
    }
}

/// Pushes so many spans and closes; the batches that were sent, and what was counted as
/// exported, dropped, failed, retried.
async fn play(count: u64, statuses: &[u16]) -> (Vec<usize>, [u64; 4]) {
    let (queue, exporter) = channel(settings());
    let stats = queue.stats();
    (1..=count).for_each(|id| queue.push(span(id)));
    drop(queue);
    let batches = Arc::<Mutex<Vec<usize>>>::default();
    let transport = Scripted {
        statuses: Mutex::new(statuses.to_vec()),
        batches: Arc::clone(&batches),
    };
    exporter.run(transport).await;
    let counts = [
        &stats.exported,
        &stats.dropped,
        &stats.failed,
        &stats.retries,
    ];
    let counts = counts.map(|it| it.load(Ordering::Relaxed));
    let batches = batches.lock().unwrap().clone();
    (batches, counts)
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_goes_in_batches_and_what_finds_it_full_is_dropped() {
    let (batches, counts) = play(11, &[200]).await;
    assert_eq!(batches, [4, 4]);
    assert_eq!(counts, [8, 3, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn only_what_may_pass_is_sent_again() {
    for (statuses, sends, counts) in [
        (&[503, 429, 200][..], 3, [2, 0, 0, 2]),
        (&[0, 200], 2, [2, 0, 0, 1]),
        (&[400], 1, [0, 0, 2, 0]),
        (&[302], 1, [0, 0, 2, 0]),
        (&[500], 1, [0, 0, 2, 0]),
    ] {
        let (batches, counted) = play(2, statuses).await;
        assert_eq!(batches.len(), sends, "{statuses:?}");
        assert_eq!(counted, counts, "{statuses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_so_often_and_no_more() {
    let (queue, exporter) = channel(settings());
    let stats = queue.stats();
    queue.push(span(1));
    let batches = Arc::<Mutex<Vec<usize>>>::default();
    let transport = Scripted {
        statuses: Mutex::new(vec![503]),
        batches: Arc::clone(&batches),
    };
    let running = tokio::spawn(exporter.run(transport));
    // In paused time this is when everything else has come to rest.
    sleep(SENDS_MAX * BACKOFF_MAX).await;
    assert_eq!(batches.lock().unwrap().len(), SENDS_MAX as usize);
    assert_eq!(stats.failed.load(Ordering::Relaxed), 1);
    drop(queue);
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leaving_waits_for_the_collector_no_longer_than_the_bound() {
    let began = Instant::now();
    let (_, [exported, dropped, failed, _]) = play(8, &[0]).await;
    assert_eq!(began.elapsed(), FLUSH_MAX);
    assert_eq!([exported, dropped, failed], [0, 0, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_span_waits_for_others_no_longer_than_the_interval() {
    let (queue, exporter) = channel(settings());
    let stats = queue.stats();
    let transport = Scripted {
        statuses: Mutex::new(vec![200]),
        batches: Arc::default(),
    };
    let running = tokio::spawn(exporter.run(transport));
    queue.push(span(1));
    sleep(Duration::from_millis(999)).await;
    assert_eq!(stats.exported.load(Ordering::Relaxed), 0);
    sleep(Duration::from_millis(2)).await;
    assert_eq!(stats.exported.load(Ordering::Relaxed), 1);
    drop(queue);
    running.await.unwrap();
}
