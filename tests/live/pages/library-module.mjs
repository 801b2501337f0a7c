/* With what the module exports. */
import WS2S, {Redis, RedisError, WS2SError} from './ws2s.mjs';

if (WS2S.Redis !== Redis) throw new Error('two clients of one name');
delete globalThis.WS2S;  // nothing here may need it
globalThis.scenarios = scenariosWith(WS2S, WS2SError, RedisError);
