//! Sends the frames of an answer, with its faults.

use std::{collections::VecDeque, future::pending, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::{
    Body, ConnectionCut, Guard, How,
    answer::{Answer, At, Fault, Gate},
    anthropic, openai,
    request::{Protocol, Request},
};

/// A step of sending a body.
#[derive(Debug)]
enum Action {
    Send(Bytes),
    Wait(Duration),
    Hold(Gate),
    Stall,
    Cut,
}

pub(super) fn respond(request: &Request, answer: &Answer, guard: Guard) -> Response<Body> {
    let frames = match request.protocol {
        Protocol::Anthropic => anthropic::frames(answer, request, guard.index),
        Protocol::OpenAi => openai::frames(answer, request, guard.index),
    };
    let id = match request.protocol {
        Protocol::Anthropic => "request-id",
        Protocol::OpenAi => "x-request-id",
    };
    let response = Response::builder()
        .header("content-type", "text/event-stream; charset=utf-8")
        .header("cache-control", "no-cache")
        .header(id, format!("req_{:04}", guard.index));
    response.body(body(plan(&frames, answer), guard)).expect("legal headers")
}

/// Converts the frames and the faults of an answer into actions.
fn plan(frames: &[String], answer: &Answer) -> VecDeque<Action> {
    let mut ends = Vec::with_capacity(frames.len());
    let mut total = 0;
    for frame in frames {
        total += frame.len();
        ends.push(total);
    }
    let offset = |at: &At| match at {
        At::Byte(bytes) => *bytes.min(&total),
        At::Event(0) => 0,
        At::Event(events) => ends.get(events - 1).copied().unwrap_or(total),
    };
    let mut faults: VecDeque<(usize, &Fault)> = answer.faults.iter().map(|(at, fault)| (offset(at), fault)).collect();
    faults.make_contiguous().sort_by_key(|(at, _)| *at);

    let mut actions = VecDeque::new();
    let mut sent = 0;
    for (i, frame) in frames.iter().enumerate() {
        if i > 0 && !answer.pace.is_zero() {
            actions.push_back(Action::Wait(answer.pace));
        }
        let mut rest = frame.as_bytes();
        while let Some((at, fault)) = faults.front().copied().filter(|(at, _)| *at <= sent + rest.len()) {
            // A fault at the end of a frame comes before the pause of the pace.
            faults.pop_front();
            let (before, after) = rest.split_at(at - sent);
            send(&mut actions, before, answer.split);
            (sent, rest) = (at, after);
            let is_final = matches!(fault, Fault::Cut | Fault::Stall);
            actions.push_back(match fault {
                Fault::Cut => Action::Cut,
                Fault::Stall => Action::Stall,
                Fault::Pause(pause) => Action::Wait(*pause),
                Fault::Hold(gate) => Action::Hold(gate.clone()),
            });
            if is_final {
                return actions;
            }
        }
        send(&mut actions, rest, answer.split);
        sent += rest.len();
    }
    actions
}

fn send(actions: &mut VecDeque<Action>, bytes: &[u8], split: Option<usize>) {
    if !bytes.is_empty() {
        actions.extend(bytes.chunks(split.unwrap_or(bytes.len())).map(|chunk| Action::Send(Bytes::copy_from_slice(chunk))));
    }
}

/// A body that executes the actions. Each chunk of bytes is an HTTP chunk.
fn body(plan: VecDeque<Action>, guard: Guard) -> Body {
    let steps = stream::unfold((plan, guard, false), |(mut plan, mut guard, over)| async move {
        if over {
            return None;
        }
        loop {
            match plan.pop_front() {
                Some(Action::Send(bytes)) => {
                    // A pending body makes the connection flush its buffer.
                    tokio::task::yield_now().await;
                    guard.sent(bytes.len());
                    return Some((Ok(Frame::data(bytes)), (plan, guard, false)));
                }
                Some(Action::Wait(time)) => tokio::time::sleep(time).await,
                Some(Action::Hold(gate)) => gate.passed().await,
                Some(Action::Stall) => pending::<()>().await,
                Some(Action::Cut) => {
                    tokio::task::yield_now().await;
                    guard.end(How::Cut);
                    return Some((Err(ConnectionCut), (plan, guard, true)));
                }
                None => {
                    guard.end(How::Finished);
                    return None;
                }
            }
        }
    });
    StreamBody::new(steps).boxed_unsync()
}
