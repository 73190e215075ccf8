/** An app file that throws while it is loaded. */
throw new TypeError('the settings of this app are not there');
