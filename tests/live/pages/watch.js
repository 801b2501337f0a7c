/* Put into a page before its own scripts: notes what should not happen there. */
'use strict';

globalThis.watch = {violations: [], failures: [], scriptsRun: []};

addEventListener('securitypolicyviolation', event => {
  watch.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
addEventListener('error', event => watch.failures.push(`${event.message} ${event.filename}:${event.lineno}`));
addEventListener('unhandledrejection', event => watch.failures.push(String(event.reason && event.reason.stack)));

/* What a hostile name would call if it could. */
globalThis.stolen = what => watch.scriptsRun.push(String(what));
globalThis.alert = globalThis.stolen;
