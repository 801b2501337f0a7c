/* What a page does with clients of the Wisp protocol that others wrote: all fetch through a gateway. */

const STUCK = 12000000;  // bytes of which the target takes few; epoxy sends them as one message

/* libcurl.js has no setting for authorities of one's own: those that it knows are overwritten where they lie. */
let exports;
for (const name of ['instantiate', 'instantiateStreaming']) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (...words) => {
    const made = await original.apply(WebAssembly, words);
    exports = (made.instance || made).exports;
    return made;
  };
}

function trust(pem) {
  const memory = new Uint8Array(exports.memory.buffer), begin = exports.get_cacert();
  const known = memory.subarray(begin, memory.indexOf(0, begin));
  known.fill('\n'.charCodeAt(0));
  known.set(new TextEncoder().encode(pem));
}

/* By name: promises the words that lines of code use. */
const libraries = {
  async epoxy() {
    const {default: load, EpoxyClient, EpoxyClientOptions} =
      await import('./@mercuryworkshop/epoxy-tls/full/epoxy.js');
    await load({module_or_path: './@mercuryworkshop/epoxy-tls/full/epoxy.wasm'});
    return {EpoxyClient, options: new EpoxyClientOptions()};
  },

  async wispJs() {
    return (await import('./@mercuryworkshop/wisp-js/dist/wisp-client.mjs')).client;
  }
};

/* By name: promises a function like fetch(). */
const clients = {
  async libcurl(url, pem, transport = 'wisp') {
    const {libcurl} = await import('./libcurl.js/libcurl.mjs');
    await libcurl.load_wasm('./libcurl.js/libcurl.wasm');
    trust(pem);
    libcurl.transport = transport;
    libcurl.set_websocket(url);
    const session = new libcurl.HTTPSession();
    session.set_connections(100, 100, 100);
    return (address, settings) => session.fetch(address, settings);
  },

  wsproxy(url, pem) {
    return clients.libcurl(url, pem, 'wsproxy');
  },

  async epoxy(url, pem, isNew = true) {
    const {EpoxyClient, options} = await libraries.epoxy();
    options.wisp_v2 = isNew;
    options.pem_files = [pem];
    const client = new EpoxyClient(url, options);
    return (address, settings = {}) => client.fetch(address, settings);
  },

  epoxy1(url, pem) {
    return clients.epoxy(url, pem, false);
  }
};

let fetchThrough;

async function sha256(response) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await response.arrayBuffer()));
  return Array.from(digest, byte => byte.toString(16).padStart(2, '0')).join('');
}

globalThis.scenarios = {
  async choose({client, url, pem}) {
    fetchThrough = await clients[client](url, pem);
  },

  isDone: false,

  async download({url}) {
    try {
      return await sha256(await fetchThrough(url));
    } finally {
      scenarios.isDone = true;
    }
  },

  downloads({urls}) {
    return Promise.all(urls.map(url => scenarios.download({url})));
  },

  /* Does the target tell the hash of what was sent? */
  async upload({url, count}) {
    const body = new Uint8Array(count);
    for (let i = 0; i < count; i += 65536) crypto.getRandomValues(body.subarray(i, i + 65536));
    const response = await fetchThrough(url, {method: 'POST', body: new Blob([body])});
    return await response.text() === await sha256(new Response(body));
  },

  /* An upload that never ends. */
  async stick({url}) {
    fetchThrough(url, {method: 'POST', body: new Blob([new Uint8Array(STUCK)])}).catch(error => console.error(String(error)));
  },

  /* What comes back for some datagrams, by epoxy. */
  async datagrams({url, port, words}) {
    const {EpoxyClient, options} = await libraries.epoxy();
    options.wisp_v2 = options.udp_extension_required = true;
    const client = new EpoxyClient(url, options);
    const {read, write} = await client.connect_udp(`udp://127.0.0.1:${port}`);
    const reader = read.getReader(), writer = write.getWriter(), replies = [];
    for (const word of words) {
      await writer.write(new TextEncoder().encode(word));
      replies.push(new TextDecoder().decode((await reader.read()).value));
    }
    return replies;
  },

  /* What `line` makes. */
  async run({library, line}) {
    const words = await libraries[library]();
    return new Function(...Object.keys(words), 'return ' + line)(...Object.values(words));
  },

  async opensWispJs({line}) {
    const connection = await scenarios.run({library: 'wispJs', line});
    return new Promise(resolve => { connection.onopen = () => resolve(connection.wisp_version); });
  },

  async fetchesByEpoxy({line, url}) {
    const client = await scenarios.run({library: 'epoxy', line});
    return (await client.fetch(url, {})).text();
  }
};
