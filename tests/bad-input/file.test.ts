/** Bad input on the embedded file. */
import { badInputSuite } from './run.js';
import { openFileSide } from './side.js';

badInputSuite(openFileSide, 'file');
