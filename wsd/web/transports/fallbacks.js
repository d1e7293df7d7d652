// The ways over plain HTTP, in one file that is fetched when a WebSocket does not do.

import { PollTransport } from "./poll.js";
import { StreamTransport } from "./stream.js";

export { PollTransport, StreamTransport };
