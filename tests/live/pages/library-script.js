/* With the global that <script src="ws2s.js"> leaves. */
'use strict';

globalThis.scenarios = scenariosWith(WS2S, WS2S.WS2SError, WS2S.RedisError);
