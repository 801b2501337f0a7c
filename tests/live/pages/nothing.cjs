/* In the place of modules of Node that a bundle names and does not use. */
module.exports = {};
