// Scores posts over as many streams as it takes: the loop of docs/clients.md. Copy it, with the stubs
// that `npm run generate` writes.

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";

import { RejectionCode, type Rejection, type ScoredEvent } from "./gen/pounce/v1/event_pb.ts";
import type { Post } from "./gen/pounce/v1/post_pb.ts";
import {
  ScoreStreamRequestSchema,
  ScoringService,
  type ScoreStreamRequest,
} from "./gen/pounce/v1/scoring_service_pb.ts";

/** The answer to one post, in the order of the posts. */
export type Reply = { event: ScoredEvent } | { rejection: Rejection };

export interface Options {
  /** Posts sent and not yet answered, at most. */
  inFlight?: number;
  /** Milliseconds for which streams may fail, without a reply between, until the job is given up. */
  patience?: number;
}

/** Statuses that another attempt will not change. */
const FINAL = new Set([
  Code.InvalidArgument,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.Unimplemented,
  Code.NotFound,
  Code.FailedPrecondition,
  Code.OutOfRange,
  Code.DataLoss,
]);

/** Gives one reply for each post, in order, through drains, restarts and the age of streams. */
export async function* scoreAll(
  transport: Transport,
  posts: AsyncIterable<Post>,
  { inFlight = 256, patience = 60_000 }: Options = {},
): AsyncGenerator<Reply> {
  const client = createClient(ScoringService, transport);
  const job = new Job(posts, inFlight);
  let pause = 50;
  let failingSince: number | undefined;
  while (await job.hasWork()) {
    const stream = new AbortController();
    let replies = 0;
    let failure: unknown;
    try {
      for await (const reply of job.replies(client, stream)) {
        replies += 1;
        [pause, failingSince] = [50, undefined];
        yield reply;
      }
    } catch (error) {
      failure = error;
    } finally {
      // Also when the caller wants no more replies.
      job.wake?.();
      stream.abort();
    }
    if (failure === undefined && replies > 0) continue; // The server moves us on.
    if (failure === undefined && !(await job.hasWork())) return;
    const error = ConnectError.from(failure ?? "the stream ended early", Code.Unavailable);
    if (FINAL.has(error.code)) throw error;
    failingSince ??= Date.now();
    if (Date.now() - failingSince >= patience) throw error;
    await new Promise((resolve) => setTimeout(resolve, pause * (1 + Math.random())));
    pause = Math.min(2 * pause, 2_000);
  }
}

class Job {
  /** Sent, or to be sent first on the next stream; removed by their replies alone. */
  private readonly unanswered: Post[] = [];
  private readonly posts: AsyncIterator<Post>;
  /** A post that was asked for and has not come: the next stream waits for it too. */
  private coming: Promise<IteratorResult<Post>> | undefined;
  private ended = false;
  /** Wakes the writer of the open stream. */
  wake: (() => void) | undefined;

  constructor(
    posts: AsyncIterable<Post>,
    private readonly inFlight: number,
  ) {
    this.posts = posts[Symbol.asyncIterator]();
  }

  /** Waits for a post if none is unanswered: no stream is needed until then. */
  async hasWork(): Promise<boolean> {
    if (this.unanswered.length === 0 && !this.ended) await this.take();
    return this.unanswered.length > 0;
  }

  private async take(): Promise<Post | undefined> {
    this.coming ??= this.posts.next();
    const next = await this.coming;
    this.coming = undefined;
    if (next.done) {
      this.ended = true;
      return undefined;
    }
    this.unanswered.push(next.value);
    return next.value;
  }

  /** One stream: its replies, until it ends. */
  async *replies(
    client: ReturnType<typeof createClient<typeof ScoringService>>,
    stream: AbortController,
  ): AsyncGenerator<Reply> {
    let due = 1n;
    const state = { drained: false };
    for await (const { reply } of client.scoreStream(this.requests(state), {
      signal: stream.signal,
    })) {
      if (reply.case === "drain") {
        state.drained = true;
        this.wake?.();
      }
      if (reply.case !== "event" && reply.case !== "rejection") continue;
      const answer = reply.value;
      if (reply.case === "rejection") {
        if (answer.sequence === 0n) throw new ConnectError(reply.value.reason, Code.InvalidArgument);
        if (reply.value.code === RejectionCode.UNAVAILABLE)
          throw new ConnectError(reply.value.reason, Code.Unavailable);
      }
      if (answer.sequence !== due)
        throw new ConnectError(`reply ${answer.sequence} came where ${due} was due`, Code.DataLoss);
      due += 1n;
      this.unanswered.shift();
      this.wake?.();
      yield reply.case === "event" ? { event: reply.value } : { rejection: reply.value };
    }
    state.drained = true;
    this.wake?.();
  }

  private async *requests(state: { drained: boolean }): AsyncGenerator<ScoreStreamRequest> {
    const request = (request: ScoreStreamRequest["request"]) =>
      create(ScoreStreamRequestSchema, { request });
    yield create(ScoreStreamRequestSchema, {
      request: { case: "options", value: { postsInFlightMax: this.inFlight } },
    });
    for (const post of [...this.unanswered]) yield request({ case: "post", value: post });
    while (!state.drained && !this.ended) {
      const woken = new Promise<void>((resolve) => (this.wake = resolve));
      if (this.unanswered.length >= this.inFlight) {
        await woken;
        continue;
      }
      // A drain does not wait for the next post, which is then the next stream's.
      this.coming ??= this.posts.next();
      await Promise.race([woken, this.coming]);
      if (state.drained) return;
      const settled = await Promise.race([this.coming, Promise.resolve(undefined)]);
      if (settled === undefined) continue;
      const post = await this.take();
      if (post !== undefined) yield request({ case: "post", value: post });
    }
  }
}
