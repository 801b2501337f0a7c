/** TCP connections for pages, through a ws2s gateway: what ws2s.mjs exports. It is described in ws2s.d.ts. */
import Gateway = require('./ws2s.js');

export default Gateway;
export import WS2SError = Gateway.WS2SError;
export import RedisError = Gateway.RedisError;
export import Redis = Gateway.Redis;
