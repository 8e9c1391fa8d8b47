// Calls from a page in a browser, over gRPC-Web: the server lists the page's origin in
// --grpc-web-origins. Copy it, with the stubs that `npm run generate` writes.

import {
  Code,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { createGrpcWebTransport, type GrpcWebTransportOptions } from "@connectrpc/connect-web";

import type { AlertChange } from "./gen/pounce/v1/alert_pb.ts";
import { AlertService } from "./gen/pounce/v1/alert_service_pb.ts";

/** Statuses that another attempt will not change. */
const FINAL = new Set([
  Code.InvalidArgument,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.Unimplemented,
]);

/** A transport to the HTTP port of a server, such as `https://pounce.example`. */
export function connect(
  baseUrl: string,
  token?: string,
  fetch?: GrpcWebTransportOptions["fetch"],
): Transport {
  const authorize: Interceptor = (next) => (request) => {
    if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  return createGrpcWebTransport({ baseUrl, fetch, interceptors: [authorize] });
}

/**
 * What fires, then each change, through drains, restarts and lost connections, until `stop` aborts.
 * A change comes again after a reconnection unless the replicas share a log.
 */
export async function* watchAlerts(
  transport: Transport,
  stop: AbortSignal,
): AsyncGenerator<AlertChange> {
  const client = createClient(AlertService, transport);
  let resumeAfter = "";
  let pause = 250;
  while (!stop.aborted) {
    try {
      for await (const { message } of client.watchAlerts({ resumeAfter }, { signal: stop })) {
        pause = 250;
        if (message.case !== "change") continue;
        resumeAfter = message.value.position || resumeAfter;
        yield message.value;
      }
    } catch (error) {
      if (stop.aborted) return;
      if (FINAL.has(ConnectError.from(error).code)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause * (1 + Math.random())));
    pause = Math.min(2 * pause, 10_000);
  }
}
