import {configure, type GatewaySettings} from 'ws2s/gateway';
const settings: GatewaySettings = {gateway: 'wss://h/', token: 't', ssh: {host: 's'}, tls: {verify: true}, window: 1};
configure(settings);
configure();
// @ts-expect-error
configure({gatway: 'wss://h/'});
// @ts-expect-error
configure('wss://h/');
