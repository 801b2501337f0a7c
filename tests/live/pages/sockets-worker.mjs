/* One socket in a worker; tells what the target has answered. */
import {connect} from './sockets.mjs?gateway=/';

onmessage = async ({data: port}) => {
  const socket = connect({hostname: '127.0.0.1', port});
  await socket.writable.getWriter().write(Uint8Array.of(1, 2));
  const {value} = await socket.readable.getReader().read();
  await socket.close();
  postMessage([...value]);
};
