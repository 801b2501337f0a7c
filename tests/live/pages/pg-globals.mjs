/* What pg takes for granted. */
export {Buffer} from 'buffer';
export {default as process} from 'process';
