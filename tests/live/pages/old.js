/* Uses what the README of ws2s 2.1.5 showed, in the ways that it showed. `?web=PORT&redis=PORT` are the targets. */
var gateway = location.origin.replace('http', 'ws') + '/'
var ports = new URLSearchParams(location.search)
var request = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
var told = []

function tell(what) {
  return value => { told.push([what, value instanceof Uint8Array ? new TextDecoder().decode(value) : value]) }
}

function onClick(id, callback) {
  document.getElementById(id).addEventListener('click', callback)
}

// Without ws2s.js: connect and send in one go, as soon as the WebSocket is open.
onClick('plain', () => {
  var ws = new WebSocket(gateway)
  ws.onmessage = event => {
    var answer = JSON.parse(event.data)
    told.push([answer.code, answer.code === -1 ? atob(answer.data) : answer.message])
  }
  ws.onopen = () => {
    ws.send(JSON.stringify({command: 'connect', host: 'localhost', port: Number(ports.get('web'))}))
    ws.send(JSON.stringify({command: 'send', data: request}))
  }
})

var socket = new WS2S(gateway).newSocket()
socket.onReady = tell('onReady')
socket.onOpen = tell('onOpen')
socket.onRecv = tell('onRecv')
socket.onClose = tell('onClose')
socket.onError = tell('onError')

onClick('connect', () => { socket.connect('localhost', Number(ports.get('web'))) })
onClick('send', () => { socket.send(request) })
onClick('send-bytes', () => { socket.sendb(new TextEncoder('utf8').encode(request)) })
onClick('close', () => { socket.close() })

onClick('redis', () => {
  redis = new WS2S(gateway).newRedisCient('localhost', Number(ports.get('redis')))
  redis.onSocketReady = tell('onSocketReady')
  redis.onReady = tell('onReady')
  redis.onResponse = tell('onResponse')
  redis.onError = tell('onError')
})

onClick('ask', () => {
  redis.request('ping')
  redis.request('get name')
  redis.request('set age 24')
  redis.request('get age\n\nincr age\nget age')
  redis.request('ECHO "Hello World!"')
})
